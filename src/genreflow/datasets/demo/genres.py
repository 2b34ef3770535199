"""The ten genres as a table. Neighbouring genres can borrow each other's traits, see `artists.borrow`."""

from dataclasses import dataclass

Weighted = dict[str, float]  # weight of each alternative


@dataclass(frozen=True)
class Pulse:
    """Tempo range [beats/min] and swing range (share of a beat before its second eighth)."""

    tempo: tuple[float, float]
    swing: tuple[float, float] = (0.5, 0.52)


@dataclass(frozen=True)
class Rhythm:
    """Beats per bar, and drum patterns by piece (`genreflow.datasets.demo.rhythm`)."""

    beats: int
    drums: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Harmony:
    """Scales of the melody, and progressions with one chord per bar in roman numerals."""

    scales: Weighted
    progressions: tuple[str, ...]


@dataclass(frozen=True)
class Figures:
    """Patterns of bass (digits: `harmony.bass_note`), chords (``C c``: whole chord, digits: one tone) and melody."""

    bass: tuple[str, ...]
    chords: tuple[str, ...]
    melody: tuple[str, ...]
    gate: float = 0.8  # length of a chord relative to the distance to the next one
    rest: float = 0.15  # probability that the melody rests for a bar


@dataclass(frozen=True)
class Instruments:
    """Weighted voices of each part, and the centre of its register [MIDI number]."""

    lead: Weighted
    chords: Weighted
    bass: Weighted
    lead_centre: int = 74
    chords_centre: int = 60
    bass_centre: int = 40


@dataclass(frozen=True)
class Sound:
    """Levels of the parts [dB], reverberation time [s] and amount, and amounts of echo and overdrive."""

    lead: float = 0.0
    chords: float = -4.0
    bass: float = -3.0
    drums: float = -2.0
    reverb_seconds: float = 0.8
    reverb: float = 0.15
    echo: float = 0.0
    drive: float = 0.0


@dataclass(frozen=True)
class Genre:
    """A genre: its traits, and the genres it can borrow traits from."""

    name: str
    neighbours: tuple[str, ...]
    pulse: Pulse
    rhythm: Rhythm
    harmony: Harmony
    figures: Figures
    instruments: Instruments
    sound: Sound = Sound()


# Fields of a genre that another genre can borrow.
TRAITS = ("pulse", "rhythm", "harmony", "figures", "instruments", "sound")

_TABLE = (
    Genre(
        "ambient",
        ("dub", "techno", "folk"),
        Pulse((58, 84)),
        Rhythm(4, ({}, {"kick": "o.......o......."}, {"shaker": "....o.......o...", "kick": "o..............."})),
        Harmony(
            {"lydian": 2, "pentatonic": 2, "dorian": 1},
            ("Imaj7 IVmaj7", "i9 bVImaj7", "Imaj7 vi7 IVmaj7 Isus", "i7 IV", "IVmaj7 Imaj7 ii7 Isus"),
        ),
        Figures(
            ("1...............", "1.......5......."),
            ("C...............", "C.......c.......", "0...1...2...1..."),
            ("x...........x...", "x...............", "x.....x.........", "x.......x...x..."),
            gate=1.0,
            rest=0.35,
        ),
        Instruments(
            {"bell": 2, "glass": 2, "epiano": 1, "harp": 1},
            {"pad": 4, "strings": 2, "organ": 1},
            {"sub": 2, "fingered": 1},
            lead_centre=76,
            chords_centre=59,
        ),
        Sound(lead=-3, chords=0, bass=-5, drums=-9, reverb_seconds=2.5, reverb=0.45, echo=0.25),
    ),
    Genre(
        "blues",
        ("ragtime", "metal", "folk"),
        Pulse((72, 120), (0.62, 0.68)),
        Rhythm(
            4,
            (
                {"hat": "X.x.x.x.X.x.x.x.", "snare": "....X.......X...", "kick": "X.......X.x....."},
                {"brush": "x...x.o.x...x.o.", "kick": "o...o...o...o..."},
                {"hat": "x...x.x.x...x.x.", "rim": "....x.......x...", "kick": "X.......X......."},
            ),
        ),
        Harmony(
            {"blues": 3, "minor_pentatonic": 1, "mixolydian": 1},
            ("I7 IV7 I7 I7 IV7 IV7 I7 V7", "I7 I7 IV7 I7 V7 IV7 I7 V7", "i7 iv7 i7 V7", "I7 I7 IV7 IV7"),
        ),
        Figures(
            ("1...3...5...6...", "1.1.5.5.6.6.5.5.", "1...1...5...7..."),
            ("C.c.C.c.C.c.C.c.", "..C...C...C...C.", "....C.......C.c."),
            ("x.x.x...x.x.....", "..x.x.x.x.......", "x...x.x.x.x.x...", "....x.x.x.....x."),
            gate=0.5,
            rest=0.25,
        ),
        Instruments(
            {"steel": 2, "harmonica": 2, "fuzz": 1, "piano": 1, "organ": 1},
            {"piano": 2, "steel": 2, "organ": 2},
            {"upright": 2, "fingered": 2},
            lead_centre=68,
            chords_centre=56,
        ),
        Sound(reverb=0.12, drive=0.25),
    ),
    Genre(
        "bossa",
        ("folk", "dub", "waltz"),
        Pulse((112, 148)),
        Rhythm(
            4,
            (
                {"rim": "x..x..x...x..x..", "hat": "o.o.o.o.o.o.o.o.", "kick": "x..xx..xx..xx..x"},
                {"rim": "x..x...x..x.x...", "shaker": "xoxoxoxoxoxoxoxo", "kick": "x...x...x...x..."},
                {"shaker": "x.oxx.oxx.oxx.ox", "rim": "..x..x....x..x.."},
            ),
        ),
        Harmony(
            {"major": 3, "dorian": 1, "lydian": 1},
            ("Imaj7 VI7 ii7 V7", "Imaj7 II7 ii7 V7", "ii7 V7 Imaj7 vi7", "i7 iv7 bVII9 bIIImaj7", "Imaj7 ii7 iii7 ii7"),
        ),
        Figures(
            ("1..55..55..11..1", "1.....5.5.....1.", "1..5....1..5...."),
            ("C..C..C...C..C..", "..C..C..C..C..C.", "C.C..C.C..C.C..."),
            ("x..x..x...x.....", "..x..x..x.......", "x.....x..x..x...", "x..xx..x........"),
            gate=0.7,
            rest=0.2,
        ),
        Instruments(
            {"flute": 3, "clarinet": 1, "nylon": 2, "epiano": 1},
            {"nylon": 3, "epiano": 2, "piano": 1},
            {"upright": 3, "fingered": 1},
            lead_centre=72,
        ),
        Sound(drums=-6, reverb=0.15),
    ),
    Genre(
        "dub",
        ("techno", "bossa", "ambient"),
        Pulse((66, 92), (0.5, 0.58)),
        Rhythm(
            4,
            (
                {"kick": "........X.......", "rim": "........X.......", "hat": "x.x.x.x.x.x.x.x."},
                {"kick": "X...X...X...X...", "snare": "........X.......", "hat": "..x...x...x...x."},
                {"kick": "........X.......", "snare": "........X..o...o", "open_hat": "..o...o...o...o."},
            ),
        ),
        Harmony(
            {"minor": 2, "dorian": 2, "minor_pentatonic": 1},
            ("i i iv i", "i bVII i bVII", "i iv", "i v i bVI", "I ii I ii"),
        ),
        Figures(
            ("1..1..5...8.5...", "..1.1...5.1.3...", "1.....1.3..5....", "1...1.5....31..."),
            ("..C...C...C...C.", "..C...C...C...C.", "..Cc..Cc..Cc..Cc"),
            ("x.x...x.........", "..........x.x...", "x.......x.x.x...", "....x..x..x....."),
            gate=0.35,
            rest=0.45,
        ),
        Instruments(
            {"harmonica": 2, "brass": 1, "bell": 1, "square": 1, "clarinet": 1},
            {"organ": 3, "muted": 2, "stab": 1},
            {"sub": 4, "fingered": 1},
            lead_centre=71,
            bass_centre=35,
        ),
        Sound(lead=-3, chords=-3, bass=3, drums=-1, reverb_seconds=1.4, reverb=0.25, echo=0.5),
    ),
    Genre(
        "folk",
        ("waltz", "blues", "bossa"),
        Pulse((84, 132), (0.5, 0.56)),
        Rhythm(
            4,
            (
                {},
                {"shaker": "x.o.x.o.x.o.x.o."},
                {"tom": "X.....x.X...x...", "shaker": "..o...o...o...o."},
            ),
        ),
        Harmony(
            {"major": 2, "mixolydian": 2, "dorian": 2, "pentatonic": 1},
            ("I V IV I", "I bVII IV I", "i bVII i bVII", "I vi IV V", "I IV I V"),
        ),
        Figures(
            ("1.......5.......", "1.......1...5...", "1...5...1...5..."),
            ("0.2.1.2.0.2.1.2.", "C.2.1.2.c.2.1.2.", "0.1.2.1.2.1.2.1.", "C...c.C..cC.c.C."),
            ("x...x.x.x...x...", "x.x.x.x.x...x...", "x.....x.x.x.x...", "x.......x.x.x.x."),
            gate=0.95,
        ),
        Instruments(
            {"flute": 2, "violin": 4, "harmonica": 1, "banjo": 1},
            {"steel": 5, "nylon": 1, "harp": 1, "banjo": 1},
            {"upright": 2, "fingered": 1},
            lead_centre=74,
        ),
        Sound(drums=-7, bass=-5, reverb=0.15),
    ),
    Genre(
        "march",
        ("ragtime", "waltz", "metal"),
        Pulse((100, 126)),
        Rhythm(
            4,
            (
                {"snare": "X.xxX.x.X.xxX.xx", "kick": "X...X...X...X..."},
                {"snare": "X..xX..xX.xxX.x.", "kick": "X.......X.......", "crash": "........x......."},
                {"snare": "..x...x...x.xxxx", "kick": "X...X...X...X...", "crash": "x..............."},
            ),
        ),
        Harmony(
            {"major": 4, "harmonic_minor": 1},
            ("I I V7 I", "I IV V7 I", "I V7 I V7", "I II7 V7 I", "i iv V7 i"),
        ),
        Figures(
            ("1...5...1...5...", "1.......5......."),
            ("..C...C...C...C.", "C...C...C...C...", "..C...C...C..cC."),
            ("x..xx...x..xx...", "x...x...x..xx..x", "x.....x.x.x.x.x.", "x.......x..xx..."),
            gate=0.5,
            rest=0.05,
        ),
        Instruments(
            {"brass": 4, "clarinet": 2, "flute": 2},
            {"brass": 3, "clarinet": 1, "accordion": 1},
            {"tuba": 4, "upright": 1},
            lead_centre=73,
            chords_centre=61,
        ),
        Sound(drums=0, reverb_seconds=1.2, reverb=0.2),
    ),
    Genre(
        "metal",
        ("blues", "techno", "march"),
        Pulse((104, 168)),
        Rhythm(
            4,
            (
                {"kick": "xxxxxxxxxxxxxxxx", "snare": "....X.......X...", "crash": "X.......x......."},
                {"kick": "X..xX.xxX..xX.xx", "snare": "....X.......X...", "open_hat": "X...X...X...X..."},
                {"kick": "X.xxX.xxX.xxX.xx", "snare": "..X...X...X...X.", "hat": "X.X.X.X.X.X.X.X."},
            ),
        ),
        Harmony(
            {"phrygian": 2, "minor": 2, "harmonic_minor": 1, "minor_pentatonic": 1},
            ("i5 i5 bII5 i5", "i5 bVI5 bVII5 i5", "i5 bIII5 bII5 i5", "i5 iv5 bVI5 bVII5"),
        ),
        Figures(
            ("1.111.111.111.11", "1...1...1...1...", "1.1.1.1.1.1.1.1."),
            ("C.ccC.ccC.ccC.cc", "C.......C...C...", "CccCccCcCccCccCc", "C.C.C.C.C.C.C.C."),
            ("x.x.x.x.x.x.x.x.", "xxxxxxxxx...x...", "x...x.x.x...x...", "x.......x......."),
            gate=0.8,
            rest=0.35,
        ),
        Instruments(
            {"fuzz": 4, "saw": 1, "steel": 1},
            {"fuzz": 4, "steel": 1, "saw": 1},
            {"fingered": 3, "saw": 1},
            lead_centre=73,
            chords_centre=47,
            bass_centre=35,
        ),
        Sound(lead=-3, chords=0, bass=-3, drums=0, reverb=0.08, drive=0.8),
    ),
    Genre(
        "ragtime",
        ("march", "blues", "waltz"),
        Pulse((84, 116), (0.5, 0.55)),
        Rhythm(4, ({}, {"brush": "..x...x...x...x."}, {"wood": "x..x..x.x..x..x.", "kick": "o...o...o...o..."})),
        Harmony(
            {"major": 4, "mixolydian": 1},
            ("I VI7 II7 V7", "I I7 IV iv", "I V7 I V7", "III7 VI7 II7 V7", "I IV I V7"),
        ),
        Figures(
            ("1...5...1...5...", "1...3...5...3...", "8...5...1...5..."),
            ("..C...C...C...C.", "..C...C...C..cC.", "....C.......C..."),
            ("x.xx.xx.x.xx.xx.", "xx.xx.x.xxx.x...", ".xx.xx.xx.xx.x..", "x.xx.x..x.xx.x.."),
            gate=0.35,
            rest=0.05,
        ),
        Instruments(
            {"piano": 4, "banjo": 2, "clarinet": 2},
            {"piano": 4, "banjo": 2, "accordion": 1},
            {"piano": 2, "tuba": 2, "upright": 1},
            lead_centre=76,
            chords_centre=62,
        ),
        Sound(drums=-7, reverb=0.1),
    ),
    Genre(
        "techno",
        ("dub", "metal", "ambient"),
        Pulse((116, 142)),
        Rhythm(
            4,
            (
                {"kick": "X...X...X...X...", "open_hat": "..x...x...x...x.", "clap": "....X.......X..."},
                {"kick": "X...X...X...X...", "hat": "xoXoxoXoxoXoxoXo", "clap": "....x.......x..x"},
                {"kick": "X...X...X..xX...", "hat": "..X...X...X...X.", "rim": "...x..x....x..x."},
            ),
        ),
        Harmony(
            {"minor": 3, "phrygian": 1, "dorian": 1},
            ("i7 i7 i7 i7", "i i bVI bVII", "i7 i7 iv7 i7", "i bIII"),
        ),
        Figures(
            ("..1.1.1...1.1.1.", "1.11..1.1.11..8.", "..1...1...1...1.", "1.1.8.1.1.1.8.1."),
            ("C..C..C.....C...", "..C.....C..C....", "C...............", "0121012101210121"),
            ("x.x.xx.xx.x.xx.x", "x..x..x.x..x..x.", "..x...x...x..x..", "x.....x....x...."),
            gate=0.6,
            rest=0.4,
        ),
        Instruments(
            {"acid": 3, "square": 2, "saw": 2, "bell": 1},
            {"stab": 3, "pad": 1, "strings": 1, "organ": 1},
            {"saw": 1, "sub": 2, "acid": 2},
            lead_centre=67,
            bass_centre=36,
        ),
        Sound(lead=-4, chords=-4, bass=-1, drums=1, reverb_seconds=1.0, reverb=0.15, echo=0.2),
    ),
    Genre(
        "waltz",
        ("folk", "march", "ragtime"),
        Pulse((116, 176)),
        Rhythm(
            3,
            (
                {},
                {"kick": "o...........", "brush": "....o...o..."},
                {"kick": "x...........", "snare": "....o...o.o.", "hat": "o...o...o..."},
            ),
        ),
        Harmony(
            {"major": 3, "harmonic_minor": 2},
            ("I I V7 V7", "I vi ii V7", "I IV V7 I", "i iv V7 i", "V7 V7 I I"),
        ),
        Figures(
            ("1...........", "1.......5..."),
            ("....C...C...", "....C...c...", "..1.2.1.2.1."),
            ("x.......x...", "x...x...x...", "x.....x.x...", "x...........", "x.x.x.x.x..."),
            gate=0.6,
        ),
        Instruments(
            {"violin": 3, "accordion": 2, "clarinet": 1, "flute": 1, "piano": 1},
            {"strings": 2, "piano": 2, "accordion": 2, "nylon": 1},
            {"upright": 3, "tuba": 1},
            lead_centre=75,
            chords_centre=61,
        ),
        Sound(drums=-8, reverb_seconds=1.3, reverb=0.2),
    ),
)
GENRES: dict[str, Genre] = {genre.name: genre for genre in _TABLE}
