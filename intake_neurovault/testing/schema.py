"""The keys of NeuroVault's records, in the order in which the API writes them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit


def _keys(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_HEAD = _keys("""
    url id file collection collection_id file_size
""")
_COMMON = _keys("""
    is_valid surface_left_file surface_right_file data_origin
    target_template_image subject_species figure handedness age sex race
    ethnicity BMI fat_percentage waist_hip_ratio mean_PDS_score tanner_stage
    days_since_menstruation hours_since_last_meal bis_bas_score spsrq_score
    bis11_score thumbnail reduced_representation
""")
_COGNITION = _keys("""
    cognitive_paradigm_cogatlas cognitive_paradigm_cogatlas_id
    cognitive_contrast_cogatlas cognitive_contrast_cogatlas_id
""")
_QUALITY = _keys("""
    is_thresholded perc_bad_voxels not_mni brain_coverage perc_voxels_outside
    number_of_subjects
""")
_TASK = _keys("""
    modality statistic_parameters smoothness_fwhm contrast_definition
    contrast_definition_cogatlas cognitive_paradigm_description_url
    cognitive_paradigm_short_description cognitive_paradigm_name
""")
COLLECTION_KEYS = _keys("""
    id url download_url owner contributors owner_name number_of_images name
    publication_status DOI preprint_DOI authors paper_url journal_name
    description full_dataset_url private add_date modify_date doi_add_date
    type_of_design number_of_imaging_runs number_of_experimental_units
    length_of_runs length_of_blocks length_of_trials optimization
    optimization_method subject_age_mean subject_age_min subject_age_max
    handedness proportion_male_subjects inclusion_exclusion_criteria
    number_of_rejected_subjects group_comparison group_description
    scanner_make scanner_model field_strength pulse_sequence parallel_imaging
    field_of_view matrix_size slice_thickness skip_distance
    acquisition_orientation order_of_acquisition repetition_time echo_time
    flip_angle software_package software_version
    order_of_preprocessing_operations quality_control used_b0_unwarping
    b0_unwarping_software used_slice_timing_correction
    slice_timing_correction_software used_motion_correction
    motion_correction_software motion_correction_reference
    motion_correction_metric motion_correction_interpolation
    used_motion_susceptibiity_correction used_intersubject_registration
    intersubject_registration_software intersubject_transformation_type
    nonlinear_transform_type transform_similarity_metric interpolation_method
    object_image_type functional_coregistered_to_structural
    functional_coregistration_method coordinate_space target_template_image
    target_resolution used_smoothing smoothing_type smoothing_fwhm
    resampled_voxel_size intrasubject_model_type intrasubject_estimation_type
    intrasubject_modeling_software hemodynamic_response_function
    used_temporal_derivatives used_dispersion_derivatives
    used_motion_regressors used_reaction_time_regressor used_orthogonalization
    orthogonalization_description used_high_pass_filter
    high_pass_filter_method autocorrelation_model group_model_type
    group_estimation_type group_modeling_software group_inference_type
    group_model_multilevel group_repeated_measures
    group_repeated_measures_method nutbrain_hunger_state
    nutbrain_food_viewing_conditions nutbrain_food_choice_type
    nutbrain_taste_conditions nutbrain_odor_conditions communities
""")
"""All 107 keys of a collection, the same for every collection."""

STATISTIC_MAP = "statistic_map"
ATLAS = "atlas"
NIDM_MAP = "NIDM results statistic map"

IMAGE_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        STATISTIC_MAP: (
            *_HEAD,
            *_COGNITION,
            *_keys("map_type analysis_level name description add_date modify_date"),
            *_COMMON,
            *_QUALITY,
            *_TASK,
            "image_type",
        ),
        ATLAS: (
            *_HEAD,
            "label_description_file",
            *_keys("name description add_date modify_date"),
            *_COMMON,
            "data",
            "image_type",
        ),
        NIDM_MAP: (
            *_HEAD,
            *_keys("nidm_results nidm_results_ttl description map_type"),
            *_keys("analysis_level name add_date modify_date"),
            *_COMMON,
            "data",
            *_QUALITY,
            "image_type",
        ),
    }
)
"""The keys of an image, by ``image_type``; custom fields come on top."""

COLLECTION_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "owner": 2,
        "contributors": "",
        "owner_name": "alice",
        "number_of_images": 0,
        "description": "",
        "private": False,
        "communities": [],
    }
)
"""What a fresh collection has; every other key is null."""

IMAGE_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "map_type": "Z map",
        "analysis_level": "group",
        "description": "",
        "is_valid": True,
        "data_origin": "volume",
        "target_template_image": "GenericMNI",
        "subject_species": "homo sapiens",
        "is_thresholded": False,
        "perc_bad_voxels": 70.5,
        "not_mni": False,
        "brain_coverage": 95.0,
        "perc_voxels_outside": 1.5,
        "number_of_subjects": 20,
        "modality": "fMRI-BOLD",
    }
)
"""What a fresh image has, where its type has the key; every other key is null."""

QUOTED_LINKS = _keys(
    "file label_description_file nidm_results nidm_results_ttl zip_file ttl_file"
)
"""Links that the server percent-quotes; it leaves the other ones raw."""

LINKS = (
    *QUOTED_LINKS,
    *_keys("url collection download_url surface_left_file surface_right_file"),
    *_keys("thumbnail reduced_representation"),
)
"""Every key whose value is a link into the server."""


def rooted(record: Mapping[str, Any], shown: str, collection_id: int) -> dict[str, Any]:
    """Turn the links of an answer into plain paths of the server.

    Parameters
    ----------
    record : mapping
        As the API answers it.
    shown : str
        How the links name the collection: its id, or its token.
    collection_id : int
        The collection.

    Returns
    -------
    dict
        The record without hosts, tokens and percent quotes.

    Examples
    --------
    >>> link = "http://127.0.0.1/media/images/ABCDEFGH/my%20map.nii.gz"
    >>> rooted({"file": link}, "ABCDEFGH", 3)
    {'file': '/media/images/3/my map.nii.gz'}
    """
    plain = dict(record)
    for key in LINKS:
        value = plain.get(key)
        if isinstance(value, str):
            path = urlsplit(value)._replace(scheme="", netloc="").geturl()
            path = path.replace(f"/{shown}/", f"/{collection_id}/", 1)
            plain[key] = unquote(path) if key in QUOTED_LINKS else path
    return plain


def arranged(record: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the keys of an image into the API's order.

    Parameters
    ----------
    record : mapping
        An image, its ``image_type`` included.

    Returns
    -------
    dict
        First the keys of its type, then the custom ones as PostgreSQL sorts keys
        (short ones first), then ``image_type``.

    Examples
    --------
    >>> image = {**dict.fromkeys(IMAGE_KEYS[STATISTIC_MAP]), "task": 1, "run": 2}
    >>> list(arranged({**image, "image_type": STATISTIC_MAP}))[-3:]
    ['run', 'task', 'image_type']
    """
    *fixed, last = IMAGE_KEYS[record["image_type"]]
    custom = sorted(set(record) - {*fixed, last}, key=_jsonb)
    return {key: record[key] for key in (*fixed, *custom, last)}


def _jsonb(key: str) -> tuple[int, bytes]:
    raw = key.encode()
    return len(raw), raw
