"""Whether a DICOM header speaks of a chest, and of a picture of it that people read."""

import re

from fedthorax.common.records.dicom_header import Header

CAPTURES = ("SC", "OT")  # secondary capture, other: the header does not say of what
XRAY_MODALITIES = ("CR", "DX", "RG", "RF", "XA", *CAPTURES)

_FLUOROSCOPY = ("RF", "XA")

# PS3.3 C.8.11.1: raw data of the detector; the picture made of it is FOR PRESENTATION.
_FOR_PROCESSING = "FOR PROCESSING"
_FOR_PROCESSING_CLASS = "1.2.840.10008.5.1.4.1.1.1.1.1"

# Words of the languages that scanners in Europe and America are set to, and the terms of PS3.16 annex L.
_CHEST = re.compile(
    r"\b(CHEST\w*|THORA\w*|THX|LUNGS?|LUNGE\w*|PULM\w*|HEART|HERZ|CARD\w*|CORONAR\w*|MEDIAST\w*|TORAX|TORACE|TORSO|"
    r"POUMONS?|POLMON\w*|BRUST(?!WIRB)\w*|NECKCHEST\w*|WHOLE ?BODY|RIBS?|BRONCH\w*)\b"
)
_ELSEWHERE = re.compile(
    r"\b(ABD\w*|PEL\w*|BECKEN\w*|HEAD(?:NECK)?|BRAIN|SKULL|SCHAEDEL|KOPF\w*|CRANI\w*|NECK|HALS\w*|[CTL]?[LS]? ?SPINE|"
    r"WIRBELSAEULE|BRUSTWIRB\w*|LENDENWIRB\w*|COLUMNA|RACHIS|LUMBAR|SACRUM|COCCYX|LWS|HWS|BWS|SINUS\w*|ORBITS?|FACE|"
    r"FACIAL|NOSE|NASAL|JAW|MANDIB\w*|MAXILL\w*|TMJ|TEETH|TOOTH|DENTAL|ZAHN\w*|EYE|EAR|LIVER|LEBER|KIDNEYS?|RENAL|KUB|"
    r"BLADDER|COLON|RECTUM|STOMACH|KNEES?|KNIE\w*|PATELLA|HIPS?|HUEFT\w*|ANKLES?|FOOT|FEET|FUSS|TOES?|CALCANEUS|HEEL|"
    r"WRISTS?|HANDS?|FINGERS?|THUMB|ELBOWS?|FOREARM|(?<!C )ARM|HUMERUS|RADIUS|ULNA|SHOULDERS?|SCHULTER|CLAVIC\w*|"
    r"SCAPULA|LEGS?|FEMUR|THIGH|TIBIA|FIBULA|CALF|EXTREMIT\w*|BREASTS?|MAMMO\w*|MLO|SKYLINE|MERCHANT|MORTISE|FROG\w*|"
    r"WATERS|CALDWELL|TOWNES?)\b"
)
_LYING = re.compile(r"\b((HEAD|FEET) ?FIRST|(HEAD|FACE|ARMS?|HANDS?) (UP|DOWN|ABOVE|OVER))\b")
_CHEST_SPINE = re.compile(
    r"\bTHORA\w* (SPINE|VERTEBR\w*)\b|\b(COLUMNA|COLONNA|RACHIS) (\w+ )?(DORSAL\w*|THORA\w*|TORA\w*)\b"
)


def no_chest_radiograph(header: Header) -> str | None:
    """Why the file is no radiograph of a chest, in words that follow its name; None if it is one, or may be one.

    A file of another modality that holds a picture is left to ``try_decode``, which refuses it.
    """
    if header.rows is None and header.modality not in (None, *XRAY_MODALITIES, "CT"):
        return f"holds no picture (modality {header.modality})"
    if header.modality not in (None, *XRAY_MODALITIES):
        return None
    if header.modality in _FLUOROSCOPY:
        return f"is a picture of fluoroscopy or angiography (modality {header.modality}), not a radiograph"
    if header.intent == _FOR_PROCESSING or header.sop_class == _FOR_PROCESSING_CLASS:
        return "is raw data of the detector (FOR PROCESSING), not the picture that people read (FOR PRESENTATION)"
    elsewhere = region_elsewhere(header)
    return elsewhere and f"shows no chest: {elsewhere}"


def region_elsewhere(header: Header) -> str | None:
    """The first text that names a part of the body decides, the most particular first: a whole study often says chest
    and abdomen, of which a series is one. In one text the chest wins.
    """
    for name, text in (
        ("series", header.series_description),
        ("body part", header.body_part),
        ("protocol", header.protocol),
        ("study", header.study_description),
        ("view", header.attributes.view or ""),
    ):
        words = _CHEST_SPINE.sub(" SPINE ", _LYING.sub(" ", capitals(text)))
        if _CHEST.search(words):
            return None
        if _ELSEWHERE.search(words):
            return f"the {name} is called {text}"
    return None


def capitals(text: str) -> str:
    """Letters and digits only, a space for what lies between; umlauts as they are written without them."""
    upper = text.upper().replace("Ä", "AE").replace("Ö", "OE").replace("Ü", "UE")
    return re.sub(r"[^A-Z0-9]+", " ", upper)
