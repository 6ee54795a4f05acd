"""What the words of the report mean, one sentence each, for readers who do not train models."""

from fedthorax.common.metrics.figures import FINDING_METRICS

GLOSSARY: tuple[tuple[str, str], ...] = (
    *((metric.title, metric.meaning) for metric in FINDING_METRICS.values()),
    (
        "ROC curve",
        "For every possible threshold, the share of images with the finding that are caught (upwards) against the "
        "share of images without it that raise a false alarm (to the right).",
    ),
    (
        "95 % interval",
        "The middle 95 % of the figure when patients of the test set are drawn again at random, many times; wide means "
        "that the test set is too small to say much.",
    ),
    (
        "Calibration",
        "Changing probabilities without changing their order, so that of the images given 0.3 about three in ten are "
        "positive.",
    ),
    (
        "Calibration error (ECE)",
        "The mean distance between probability and share of positives, over bins of probability.",
    ),
    ("Brier score", "The mean squared distance between probability and truth; 0 is best."),
    (
        "Threshold",
        "The probability from which a finding counts as predicted; accuracy, precision, recall, F1 depend on it.",
    ),
    (
        "Positives",
        "The number of images that show the finding, or belong to the class; few positives make a shaky figure.",
    ),
    (
        "Macro, weighted, micro",
        "Three means: every finding alike; findings weighted by their positives; all judgements thrown together.",
    ),
    (
        "Confusion matrix",
        "Each row is a true class, each column what the model said; right answers lie on the diagonal.",
    ),
    ("Undefined (\N{EN DASH})", "A figure that cannot be computed from the labels at hand; it is never written as 0."),
    (
        "Unknown label",
        "The label file says neither present nor absent; such a label is used in no figure and no training.",
    ),
    ("Training, validation, test", "Images to learn from; to choose the best round by; to report, once, at the end."),
    ("Central", "The server's own images, which no hospital trains on."),
    ("Round", "Every hospital trains the common model on its own images, and the server averages the results."),
    ("Loss", "What training makes smaller: the distance between predicted probabilities and labels."),
    (
        "Pair",
        "One X-ray and one CT slice that go through the network together; usually of two different people, drawn anew "
        "each pass.",
    ),
)
