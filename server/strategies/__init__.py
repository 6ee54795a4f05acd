"""The strategies by name. A new one is a file beside this, a line here, and its name in common/config/strategy.py."""

from fedthorax.common.config.strategy import StrategyName
from fedthorax.server.strategies.mean import FEDAVG, FEDBN
from fedthorax.server.strategies.qfedavg import QFEDAVG
from fedthorax.server.strategies.robust import BULYAN, KRUM, MEDIAN, MULTI_KRUM, TRIMMED_MEAN
from fedthorax.server.strategies.scaffold import SCAFFOLD
from fedthorax.server.strategies.server_optimizer import FEDADAGRAD, FEDADAM, FEDAVGM, FEDYOGI
from fedthorax.server.strategies.update import Strategy

STRATEGIES: dict[StrategyName, Strategy] = {
    "fedavg": FEDAVG,
    "fedprox": FEDAVG,  # the difference is in the hospitals' loss
    "fedbn": FEDBN,
    "scaffold": SCAFFOLD,
    "fedavgm": FEDAVGM,
    "fedadam": FEDADAM,
    "fedyogi": FEDYOGI,
    "fedadagrad": FEDADAGRAD,
    "qfedavg": QFEDAVG,
    "median": MEDIAN,
    "trimmed_mean": TRIMMED_MEAN,
    "krum": KRUM,
    "multi_krum": MULTI_KRUM,
    "bulyan": BULYAN,
}
