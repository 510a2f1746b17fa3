"""The core fields of NeuroVault's records: names, types, values, spellings of null."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Literal, cast

__all__ = [
    "COLLECTION_FIELDS",
    "COLLECTION_KINDS",
    "IMAGE_FIELDS",
    "IMAGE_KINDS",
    "Field",
    "Kind",
    "caster",
    "clean",
    "finite",
]

Kind = Literal["int", "float", "bool", "text", "date"]
"""The type of a core field; a date is ISO 8601 text with its offset from UTC."""


@dataclass(frozen=True)
class Field:
    """One core field of an image or a collection.

    Examples
    --------
    >>> IMAGE_FIELDS[0]
    Field(name='id', kind='int', description="the image's number on NeuroVault")
    """

    name: str
    """The key in the API's JSON."""
    kind: Kind
    """The type of its values; any field may also be null."""
    description: str
    """What it says and in which unit."""


def _fields(table: str) -> tuple[Field, ...]:
    rows = (line.split(maxsplit=2) for line in table.strip().splitlines())
    return tuple(Field(name, cast(Kind, kind), text) for name, kind, text in rows)


# NOTE: `data` is left out: it is a bag of custom fields, and text, a list or a
# mapping where it shows up at all.
IMAGE_FIELDS: tuple[Field, ...] = _fields("""
id                                   int   the image's number on NeuroVault
collection_id                        int   the collection's number
name                                 text  title, not unique in its collection
description                          text  free text
map_type                             text  statistic, e.g. "Z map"; none for atlases
url                                  text  the image's web page
file                                 text  where the NIfTI file is served
collection                           text  the collection's web page
file_size                            int   bytes; 0 if the server lost the file
label_description_file               text  XML file that names an atlas's labels
nidm_results                         text  the NIDM-Results pack of the map
nidm_results_ttl                     text  Turtle file of the NIDM-Results pack
cognitive_paradigm_cogatlas          text  task, as named in the Cognitive Atlas
cognitive_paradigm_cogatlas_id       text  that task's Cognitive Atlas id
cognitive_contrast_cogatlas          text  contrast, as named in the Cognitive Atlas
cognitive_contrast_cogatlas_id       text  that contrast's Cognitive Atlas id
analysis_level                       text  group, single-subject, meta-analysis, other
add_date                             date  when it was uploaded
modify_date                          date  when the file or its record last changed
is_valid                             bool  whether the record passed the server's checks
surface_left_file                    text  GIFTI of the map on the left hemisphere
surface_right_file                   text  GIFTI of the map on the right hemisphere
data_origin                          text  volume or surface: what it was made from
target_template_image                text  template space, e.g. GenericMNI
subject_species                      text  e.g. homo sapiens
figure                               text  figure of the paper that shows the map
handedness                           text  of the single subject: L or R
age                                  float age of the single subject, years
sex                                  text  of the single subject: M, F or O
race                                 text  of the single subject, US Census code
ethnicity                            text  of the single subject, US Census code
BMI                                  float body mass index, kg/m²
fat_percentage                       float body fat, percent of weight
waist_hip_ratio                      float waist over hip circumference
mean_PDS_score                       float mean Pubertal Development Scale score
tanner_stage                         text  sexual maturity, I to V
days_since_menstruation              float days since the last menstruation
hours_since_last_meal                float hours since the last meal
bis_bas_score                        float behavioural inhibition/activation score
spsrq_score                          float sensitivity to punishment and reward score
bis11_score                          float Barratt Impulsiveness Scale score
thumbnail                            text  JPEG of the map on a glass brain
reduced_representation               text  file of the values at low resolution
is_thresholded                       bool  the server found most voxels empty
perc_bad_voxels                      float voxels that are zero or NaN, percent
not_mni                              bool  the server found a poor fit to MNI space
brain_coverage                       float part of the brain with values, percent
perc_voxels_outside                  float values that lie outside the brain, percent
number_of_subjects                   int   subjects who went into the map
modality                             text  e.g. fMRI-BOLD, Structural MRI, PET FDG
statistic_parameters                 float parameter of the null, e.g. its df
smoothness_fwhm                      float noise smoothness (FWHM), mm
contrast_definition                  text  what is subtracted from what
contrast_definition_cogatlas         text  link to that contrast's Cognitive Atlas page
cognitive_paradigm_description_url   text  link to a description of the task
cognitive_paradigm_short_description text  the task in a sentence
cognitive_paradigm_name              text  task, for those the Cognitive Atlas lacks
image_type                           text  statistic_map, atlas or NIDM results map
""")
"""The core fields of an image; which are present depends on ``image_type``."""

# NOTE: `communities` is left out: a list of ids is none of the kinds.
COLLECTION_FIELDS: tuple[Field, ...] = _fields("""
id                                    int   the collection's number on NeuroVault
url                                   text  the collection's web page
download_url                          text  where the whole collection is a zip file
owner                                 int   number of the user it belongs to
contributors                          text  users who may edit it, comma-separated
owner_name                            text  name of the user it belongs to
number_of_images                      int   images, NIDM-Results packs counted too
name                                  text  title, unique on the server
publication_status                    text  e.g. published, preprint
DOI                                   text  DOI of the paper
preprint_DOI                          text  DOI of the preprint
authors                               text  authors of the paper
paper_url                             text  link to the paper
journal_name                          text  journal of the paper
description                           text  free text
full_dataset_url                      text  link to the data the maps come from
private                               bool  shown only to those who know its token
add_date                              date  when it was created
modify_date                           date  when it or one of its images changed
doi_add_date                          date  when the DOI was entered
type_of_design                        text  blocked, eventrelated, hybrid or other
number_of_imaging_runs                int   imaging runs per subject
number_of_experimental_units          int   blocks or trials per run
length_of_runs                        float length of a run, s
length_of_blocks                      float length of a block, s
length_of_trials                      text  length of a trial, s, or the word "variable"
optimization                          bool  whether the design was optimised
optimization_method                   text  how the design was optimised
subject_age_mean                      float mean age of the subjects, years
subject_age_min                       float age of the youngest subject, years
subject_age_max                       float age of the oldest subject, years
handedness                            text  of the subjects: right, left or both
proportion_male_subjects              float male part of the subjects, 0 to 1
inclusion_exclusion_criteria          text  who could take part
number_of_rejected_subjects           int   scanned but left out of the analysis
group_comparison                      bool  whether groups of subjects are compared
group_description                     text  the groups that are compared
scanner_make                          text  manufacturer of the scanner
scanner_model                         text  model of the scanner
field_strength                        float magnetic field, tesla
pulse_sequence                        text  pulse sequence of the scans
parallel_imaging                      text  parallel imaging: method and parameters
field_of_view                         float extent of a slice, mm
matrix_size                           int   voxels along an in-plane axis
slice_thickness                       float distance between slices, gap included, mm
skip_distance                         float gap between slices, mm
acquisition_orientation               text  orientation of the slices
order_of_acquisition                  text  ascending, descending or interleaved
repetition_time                       float TR; ms are asked for, many give seconds
echo_time                             float TE, ms
flip_angle                            float flip angle, degrees
software_package                      text  main analysis software
software_version                      text  version of that software
order_of_preprocessing_operations     text  preprocessing steps in their order
quality_control                       text  quality-control measures
used_b0_unwarping                     bool  B0 distortions were corrected
b0_unwarping_software                 text  what corrected them, if not the main package
used_slice_timing_correction          bool  slice timing was corrected
slice_timing_correction_software      text  what corrected it, if not the main package
used_motion_correction                bool  head motion was corrected
motion_correction_software            text  what corrected it, if not the main package
motion_correction_reference           text  scan that the others were aligned to
motion_correction_metric              text  similarity metric of the correction
motion_correction_interpolation       text  interpolation of the correction
used_motion_susceptibiity_correction  bool  motion × susceptibility was corrected
used_intersubject_registration        bool  subjects were put in a common space
intersubject_registration_software    text  what registered, if not the main package
intersubject_transformation_type      text  linear or nonlinear
nonlinear_transform_type              text  method of the nonlinear registration
transform_similarity_metric           text  similarity metric of the registration
interpolation_method                  text  interpolation of the registration
object_image_type                     text  image that was registered, e.g. T1
functional_coregistered_to_structural bool  functional was aligned to structural
functional_coregistration_method      text  how it was aligned
coordinate_space                      text  mni, talairach, mni2tal or other
target_template_image                 text  template that was registered to
target_resolution                     float voxel size of the template, mm
used_smoothing                        bool  whether the data were smoothed
smoothing_type                        text  kind of smoothing
smoothing_fwhm                        float width of the smoothing kernel (FWHM), mm
resampled_voxel_size                  float voxel size in template space, mm
intrasubject_model_type               text  first-level model, e.g. regression
intrasubject_estimation_type          text  first-level estimation, e.g. OLS
intrasubject_modeling_software        text  first-level software, if not the main one
hemodynamic_response_function         text  model of the response
used_temporal_derivatives             bool  first-level model has temporal derivatives
used_dispersion_derivatives           bool  first-level model has dispersion derivatives
used_motion_regressors                bool  first-level model has motion regressors
used_reaction_time_regressor          bool  first-level model has a reaction time
used_orthogonalization                bool  first-level regressors were orthogonalised
orthogonalization_description         text  what was orthogonalised to what
used_high_pass_filter                 bool  slow drifts were filtered out
high_pass_filter_method               text  how they were filtered out
autocorrelation_model                 text  model of the temporal noise
group_model_type                      text  second-level model, e.g. regression
group_estimation_type                 text  second-level estimation, e.g. OLS
group_modeling_software               text  second-level software, if not the main one
group_inference_type                  text  randommixedeffects or fixedeffects
group_model_multilevel                text  levels and assumptions beyond two
group_repeated_measures               bool  subjects were measured repeatedly
group_repeated_measures_method        text  how that was accounted for
nutbrain_hunger_state                 text  I (fed) to VI (36 h fast)
nutbrain_food_viewing_conditions      text  categories of the food pictures
nutbrain_food_choice_type             text  kind of choice between foods
nutbrain_taste_conditions             text  tastes that were given
nutbrain_odor_conditions              text  odours that were given
""")
"""The core fields of a collection, the same in all of them."""

IMAGE_KINDS: Mapping[str, Kind] = MappingProxyType(
    {field.name: field.kind for field in IMAGE_FIELDS}
)
"""Type of each core field of an image, by name."""

COLLECTION_KINDS: Mapping[str, Kind] = MappingProxyType(
    {field.name: field.kind for field in COLLECTION_FIELDS}
)
"""Type of each core field of a collection, by name."""

_NULLS = frozenset({"", "none", "none / other", "n/a", "na", "null"})
_LONGEST_NULL = max(map(len, _NULLS))


def clean(value: object) -> object:
    """Turn the ways in which people write "nothing" into None.

    Parameters
    ----------
    value : object
        A value of a record.

    Returns
    -------
    object
        None for NaN and for text that is, as a whole, blank, ``none``,
        ``none / other``, ``n/a``, ``na`` or ``null`` in any case; anything else
        unchanged.

    Examples
    --------
    >>> clean(" None / Other ") is None
    True
    >>> clean("None of the above")
    'None of the above'
    """
    if isinstance(value, str):
        # NOTE: descriptions run to thousands of characters, no null does.
        text = value.strip()
        return None if len(text) <= _LONGEST_NULL and text.lower() in _NULLS else value
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def finite(value: object) -> object:
    """Clean a value of no particular type, for JSON.

    Parameters
    ----------
    value : object
        A value of a record.

    Returns
    -------
    object
        None for an infinite number, which JSON has no word for; else as
        :func:`clean` gives it.

    Examples
    --------
    >>> finite(float("inf")) is None
    True
    >>> finite("12")
    '12'
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return clean(value)


def caster(kind: Kind) -> Callable[[object], object]:
    """Give the function that casts values to the type of a field.

    Parameters
    ----------
    kind : Kind
        The type.

    Returns
    -------
    callable
        From a value of JSON to one of that type, or to None where the value is null
        or something would get lost.

    Examples
    --------
    >>> as_int = caster("int")
    >>> as_int("20"), as_int(20.0), as_int(20.5), as_int(True)
    (20, 20, None, None)
    """
    return _CASTERS[kind]


def _number(value: object) -> int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        # NOTE: Python reads "1_000" as a number, NeuroVault's users do not.
        return None if "_" in value else _parsed(value)
    if isinstance(value, int):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else None


def _parsed(text: str) -> int | float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _int(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == number // 1 else None


def _float(value: object) -> float | None:
    if type(value) is float:
        return value if math.isfinite(value) else None
    number = _number(value)
    try:
        return None if number is None else float(number)
    except OverflowError:
        return None


def _bool(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else None


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value if clean(value) is not None else None
    number = _number(value)
    return None if number is None else str(number)


def _date(value: object) -> str | None:
    text = value.strip() if isinstance(value, str) else ""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return None
    return text


_CASTERS: Mapping[Kind, Callable[[object], object]] = {
    "int": _int,
    "float": _float,
    "bool": _bool,
    "text": _text,
    "date": _date,
}
