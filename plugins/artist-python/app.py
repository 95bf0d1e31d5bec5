"""The artists of a playlist: who performs its tracks, and whose albums they are on.

The same table, the same rows and the same skips as `plugins/artist` makes in Rust. Here is what is this
plugin's own; `entries.py` and `containers.py` do what the SDK does for plugins in Rust, and `values.py`
what its JSON reader does.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import (
    Batch, Column, ColumnType, Extraction, Failure_Malformed, Info, PackedColumn, Scope, Skip, Table, TextValues, Values_Text,
)

import containers
import entries

# What the SDK's plugins say that they read: all of it decides whether an entry is a track.
READS = [
    "pages.items.is_local", "items.items.is_local", "tracks.items.is_local",
    "offset", "added_at", "is_local",
    *(
        f"{payload}.{member}"
        for payload in ("item", "track")
        for member in (
            "id", "type", "name", "duration_ms", "popularity", "explicit", "disc_number", "track_number",
            "external_urls.spotify", "external_ids.isrc",
        )
    ),
    "album.id", "album.name", "album.album_type", "album.release_date", "album.release_date_precision",
    "album.total_tracks", "album.external_urls.spotify",
    "artists.id", "artists.name", "artists.external_urls.spotify",
]

ARTIST = Table(
    name="artist",
    description="An artist of a track of the playlist, or of the album it is on",
    scope=Scope.ENTITY,
    columns=[
        Column("artist_id", ColumnType.TEXT, False, "Spotify's id of the artist"),
        Column("artist_name", ColumnType.TEXT, True, "the artist's name"),
        Column("external_url", ColumnType.TEXT, True, "the artist's page on open.spotify.com"),
    ],
    key=["artist_id"],
)


class Transform(exports.Transform):
    """What the world `plugin` exports. The toolchain finds the class by its name."""

    def describe(self):
        return Info(version="0.1.0", reads=READS, tables=[ARTIST])

    def extract(self, document):
        try:
            tracks, skips = entries.judged(document.pages)
        except containers.NoEntries as error:
            raise Err(Failure_Malformed(str(error))) from error
        artists = first_named(artist for track in tracks for artist in artists_of(track))
        columns = [
            [artist["id"] for artist in artists],
            [artist.get("name") for artist in artists],
            [(artist.get("external_urls") or {}).get("spotify") for artist in artists],
        ]
        batch = Batch([packed(column) for column in columns])
        return Extraction([batch], [Skip(position, reason) for position, reason in skips])


def artists_of(track):
    """The track's artists, then the album's."""
    for holder in (track, track.get("album") or {}):
        yield from (artist for artist in holder.get("artists") or [] if artist is not None)


def first_named(artists):
    """One for each id, in order of first appearance. The first wins, but a later one that has a name
    replaces one that has none, whole and at its place, which a dict keeps."""
    kept = {}
    for artist in artists:
        key = artist.get("id")
        if key and (key not in kept or artist.get("name") and not kept[key].get("name")):
            kept[key] = artist
    return list(kept.values())


def packed(texts):
    """A column of text as it travels: one string, and where in it each value ends, in bytes."""
    ends, end = [], 0
    for text in texts:
        end += len((text or "").encode())
        ends.append(end)
    nulls = [row for row, text in enumerate(texts) if text is None]
    return PackedColumn(Values_Text(TextValues("".join(text or "" for text in texts), ends)), nulls)
