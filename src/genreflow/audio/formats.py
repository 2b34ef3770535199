"""The audio formats that are read: the one list from which folders, messages and both decoders take theirs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """A format of audio files.

    Parameters
    ----------
    name : str
        As in messages.
    suffixes : tuple of str
        Suffixes of its files in a folder; files that are named explicitly may have any.
    demuxers : tuple of str
        FFmpeg's demuxers of its containers. None of them opens other files, addresses or devices.
    """

    name: str
    suffixes: tuple[str, ...]
    demuxers: tuple[str, ...] = ()


FORMATS = (
    Format("wav", (".wav", ".wave", ".rf64", ".w64"), ("wav", "w64")),
    Format("flac", (".flac",), ("flac",)),
    Format("mp3", (".mp3", ".mp2"), ("mp3",)),
    Format("ogg", (".ogg", ".oga", ".spx"), ("ogg",)),
    Format("opus", (".opus",), ("ogg",)),
    Format("m4a", (".m4a", ".m4b", ".mp4", ".mov", ".3gp"), ("mov",)),
    Format("aac", (".aac",), ("aac",)),
    Format("aiff", (".aif", ".aiff", ".aifc"), ("aiff",)),
    Format("webm", (".webm", ".mka"), ("matroska",)),
    Format("wma", (".wma", ".asf"), ("asf",)),
    Format("au", (".au", ".snd"), ("au",)),
    Format("caf", (".caf",), ("caf",)),
    Format("wavpack", (".wv",), ("wv",)),
    Format("ape", (".ape",), ("ape",)),
    Format("tta", (".tta",), ("tta",)),
    Format("musepack", (".mpc",), ("mpc", "mpc8")),
    Format("ac3", (".ac3",), ("ac3", "eac3")),
    Format("dts", (".dts",), ("dts",)),
    Format("amr", (".amr",), ("amr",)),
    Format("dsf", (".dsf",), ("dsf",)),
    Format("voc", (".voc",)),
    Format("nist", (".sph", ".nist")),
)

AUDIO_SUFFIXES = frozenset(suffix for form in FORMATS for suffix in form.suffixes)
DEMUXERS = tuple(dict.fromkeys(demuxer for form in FORMATS for demuxer in form.demuxers))
# FFmpeg's decoders that these containers may need. None is of pictures, so that cover art is never decoded.
DECODERS = (
    *("mp3float", "mp3", "mp2float", "mp2", "mp1float", "mp1", "aac", "aac_latm", "alac", "flac", "vorbis", "opus"),
    *("speex", "wmav1", "wmav2", "wmapro", "wmalossless", "ac3", "eac3", "dca", "amrnb", "amrwb", "ape", "wavpack"),
    *("tta", "mpc7", "mpc8", "dsd_lsbf", "dsd_msbf", "dsd_lsbf_planar", "dsd_msbf_planar"),
    *("pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le"),
    *("pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw"),
    *("adpcm_ima_wav", "adpcm_ima_qt", "adpcm_ms", "gsm", "gsm_ms"),
)


def describe_formats(count: int = 10) -> str:
    """Return the names of the commonest formats, as in ``wav, flac or mp3``.

    Parameters
    ----------
    count : int > 1
        Number of names.
    """
    names = [form.name for form in FORMATS[:count]]
    return f"{', '.join(names[:-1])} or {names[-1]}"
