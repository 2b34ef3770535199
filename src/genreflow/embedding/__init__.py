"""Pretrained embedders: networks, trained on much more music than a user has, whose values a small classifier takes."""
