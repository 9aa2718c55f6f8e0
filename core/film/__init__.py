"""Films: a storyboard as a file, exact timelines, and clips joined to one film with its lineage."""

from prefect_ltx.film.additions import Music, Subtitle, SubtitleStyle, Voice
from prefect_ltx.film.errors import FilmError, FilmInvalid, Problem, StoryboardInvalid
from prefect_ltx.film.join import Clip, JoinedFilm, check_film, frames_at, join_clips, skip_at
from prefect_ltx.film.manifest import FilmLineage, FilmManifest, ShotLineage, film_folder, film_key
from prefect_ltx.film.reading import load_storyboard, read_storyboard, standalone_storyboard
from prefect_ltx.film.requests import (
    SheetPlan,
    sheet_canvas,
    sheet_images,
    sheet_plan,
    shot_request,
    shot_warnings,
)
from prefect_ltx.film.storyboard import (
    CastMember,
    CrossFade,
    Location,
    Shot,
    Storyboard,
    storyboard_schema,
)
from prefect_ltx.film.takes import TakePolicy, derived_seed, take_seeds
from prefect_ltx.film.timeline import SAMPLE_RATE, Span, Timeline, fitting_overlaps

__all__ = [
    "SAMPLE_RATE",
    "CastMember",
    "Clip",
    "CrossFade",
    "FilmError",
    "FilmInvalid",
    "FilmLineage",
    "FilmManifest",
    "JoinedFilm",
    "Location",
    "Music",
    "Problem",
    "SheetPlan",
    "Shot",
    "ShotLineage",
    "Span",
    "Storyboard",
    "StoryboardInvalid",
    "Subtitle",
    "SubtitleStyle",
    "TakePolicy",
    "Timeline",
    "Voice",
    "check_film",
    "derived_seed",
    "film_folder",
    "film_key",
    "fitting_overlaps",
    "frames_at",
    "join_clips",
    "load_storyboard",
    "read_storyboard",
    "sheet_canvas",
    "sheet_images",
    "sheet_plan",
    "shot_request",
    "shot_warnings",
    "skip_at",
    "standalone_storyboard",
    "storyboard_schema",
    "take_seeds",
]
