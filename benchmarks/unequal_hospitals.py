"""The same images dealt out to equal and to unequal hospitals: what becomes of the common model?

    make real
    python benchmarks/unequal_hospitals.py configs/real.yaml --set training.threads=1 --seeds 5
    python benchmarks/unequal_hospitals.py configs/real.yaml --set training.threads=1 --seeds 5 --phantoms 200

An arm is a layout and a way to average, such as ``lacking/branches``. The layouts hold the same 350 X-rays and 613 CT
slices (`fedthorax partition`, seed 1) and the same central images:

    equal-3     three equal hospitals: the folders of configs/real.yaml
    dirichlet   three, label skew with alpha 0.1
    equal-4     four equal hospitals
    lacking     four, of which north has no CT and south no X-rays; the other three have its part
    blank       lacking, with a black picture of unknown label in place of what a hospital has not
    labels      three equal ones, of which south annotates Pneumonia only, as Hannover does
    hannover    three equal ones, and the 92 X-rays of Hannover, whose labels know nothing of 13 of the 14 findings

All arms train the heads with tokens for what is absent and modality dropout, but for ``blank``, which stands for a
framework that needs both images everywhere. ``branches`` and ``pairs`` are values of federation.weigh_by with fedavg;
every other way is a strategy with branches. The learning rate is chosen as in real_data.py: each of --rates with one
seed that is not used again, by central validation; or given as ARM=RATE. Scores are of the selected round on the
central test, which selects nothing: with one random partner an image, with the mean over 32, and with each image
alone; 95 % intervals resample patients and seeds, comparisons are paired over both. Finished runs are read back, so a
second process with --backwards, which begins at the other end of the list, takes half of the work.

With --phantoms so many phantom patients (`fedthorax phantom`, at the size of the network's images) take the place of
the real ones; there is no Hannover then, and the finding that south annotates is Effusion.

The rounds are those of heads_federation.py; --whole-run says whether a whole run ends with the same weights.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from heads_federation import HeadsRun, Networks
from local_runs import (
    ACCURACY,
    CANCER,
    DISEASE,
    CentralData,
    central_without,
    compared,
    figure_of,
    keras,
    load_hospitals,
    predictions_on_test,
    resamples_of,
    run_locally,
)
from PIL import Image

from fedthorax.common.config import Experiment
from fedthorax.common.config.load import load_experiment
from fedthorax.common.ground.atomic_write import write_text
from fedthorax.common.hospital.images import SiteImages
from fedthorax.common.metrics.intervals import Resamples
from fedthorax.common.model.segments import HEAD_SEGMENTS, SegmentLayout, weights_digest
from fedthorax.common.training.scoring import Predictions
from fedthorax.simulations.partition import PartitionPlan, partition
from fedthorax.simulations.phantom import phantom_arguments, write_phantom
from fedthorax.simulations.phantom.chest import FINDINGS
from fedthorax.simulations.phantom.thorax import CANCER_CLASSES
from fedthorax.simulations.site_limits import SiteLimits

TUNING_SEED = 0
TOKENS = ("model.absent=token", "training.modality_dropout=0.2", "evaluation.bootstrap_samples=0")
FOUR = ("north", "south", "east", "west")
LAYOUTS: dict[str, dict[str, Any] | None] = {
    "equal-3": None,
    "dirichlet": {"alpha": 0.1, "hospitals": FOUR[:3]},
    "equal-4": {"hospitals": FOUR},
    "lacking": {"hospitals": FOUR, "limits": SiteLimits(without={"north": ("ct",), "south": ("xray",)})},
    "blank": {"hospitals": FOUR, "limits": SiteLimits(without={"north": ("ct",), "south": ("xray",)})},
    "labels": {"hospitals": FOUR[:3], "limits": SiteLimits(annotates={"south": ("Pneumonia",)})},
    "hannover": None,
}
WAYS = {
    "branches": (),
    "pairs": ("federation.weigh_by=pairs",),
    **{name: (f"federation.strategy={name}",) for name in ("fedprox", "fedbn", "scaffold", "fedavgm", "fedadam")},
    **{name: (f"federation.strategy={name}",) for name in ("median", "trimmed_mean")},
}
ARMS = (
    *("equal-4/branches", "lacking/branches", "lacking/pairs", "equal-4/pairs", "blank/pairs"),
    *("equal-3/branches", "equal-3/pairs", "dirichlet/branches", "dirichlet/pairs"),
    *("labels/branches", "labels/pairs", "hannover/branches", "hannover/pairs"),
    *("lacking/fedprox", "lacking/fedbn", "lacking/scaffold", "lacking/fedavgm", "lacking/fedadam", "lacking/median"),
)
PHANTOM_LAYOUTS = {
    **LAYOUTS,
    "equal-3": {"hospitals": FOUR[:3]},
    "labels": {"hospitals": FOUR[:3], "limits": SiteLimits(annotates={"south": ("Effusion",)})},
}
EQUAL = {"lacking": "equal-4", "blank": "equal-4", "dirichlet": "equal-3", "labels": "equal-3", "hannover": "equal-3"}
VIEWS = {"one": "one random partner an image", "many": "the mean over 32 partners", "alone": "each image alone"}
PARTNERS = 32
EVERY = 4  # rounds from one validation to the next
SCORES = {"X-ray macro ROC-AUC": DISEASE, "CT macro ROC-AUC": CANCER, "CT accuracy": ACCURACY}

Seeds = list[Mapping[str, Resamples]]


@dataclass
class Bench:
    """Every layout's images are loaded once, its splits drawn from the file's seed."""

    config: Path
    overrides: list[str]
    images: Path
    out: Path
    phantoms: int | None = None
    networks: Networks = field(default_factory=Networks)
    sites: dict[str, dict[str, SiteImages]] = field(default_factory=dict)

    def experiment(self, arm: str, seed: int | None = None, rate: float | None = None) -> Experiment:
        layout, _, way = arm.partition("/")
        sets = [*TOKENS, *self._phantom_settings(), *self.overrides, *self._folders(layout), *WAYS[way]]
        if layout == "blank":
            sets += ["model.absent=refused", "training.modality_dropout=0"]
        if seed is not None:
            sets += [f"seed={seed}", f"name={layout}-{way}-seed{seed}-rate{rate:g}"]
            sets += [
                f"training.phases.0.learning_rate={rate!r}",
                f"output={{folder: '{self.out}', keep_checkpoints: 1}}",
            ]
        return load_experiment(self.config, sets, base=Path.cwd())

    def _phantom_settings(self) -> list[str]:
        if self.phantoms is None:
            return []
        central = {kind: str(self.out / "pool" / "central" / kind) for kind in ("xray", "ct")}
        cache = {"folder": str(self.out / "cache")}
        return [
            f"labels={json.dumps({'findings': FINDINGS, 'cancer_classes': CANCER_CLASSES})}",
            f"data.central={json.dumps(central)}",
            f"data.cache={json.dumps(cache)}",
        ]

    def _source(self) -> dict[str, Any]:
        """What is dealt out, as arguments of PartitionPlan; phantoms are drawn the first time."""
        if self.phantoms is None:
            ct = self.images / "ct-kaggle"
            folders = {"xray": self.images / "nih-224", "ct": ct / "train"}
            central = {"ct_valid": ct / "valid", "ct_test": ct / "test", "holdout_valid": 0.1, "holdout_test": 0.2}
            return {**folders, **central}
        pool = self.out / "pool"
        if not pool.exists():
            size = load_experiment(self.config, self.overrides, base=Path.cwd()).model.image_size
            write_phantom(pool, phantom_arguments(["one"], patients=self.phantoms, image_size=size, seed=11))
        return {"xray": pool / "one" / "xray", "ct": pool / "one" / "ct"}

    def _folders(self, layout: str) -> list[str]:
        """What makes the experiment's hospitals those of the layout; deals them out the first time."""
        if layout == "hannover":
            folder = (self.images / "hannover-224").absolute()
            return [f"data.hospitals.hannover={{xray: {{folder: '{folder}', mapping: {{names: {{COVID-19: null}}}}}}}}"]
        dealt = (LAYOUTS if self.phantoms is None else PHANTOM_LAYOUTS)[layout]
        if dealt is None:
            return []
        folder = self.out / "data" / layout
        if not folder.exists():
            partition(PartitionPlan(out=folder, **self._source(), seed=1, link="symlink", **dealt))
            if layout == "blank":
                _draw_blanks(folder)
        limits = SiteLimits() if layout == "blank" else dealt.get("limits", SiteLimits())
        sources = {
            name: {modality: str(folder / name / modality) for modality in ("xray", "ct") if limits.has(name, modality)}
            for name in dealt["hospitals"]
        }
        if layout == "blank":
            sources["north"]["ct"] = {"folder": sources["north"]["ct"], "classes": {"unknown": None}}
        return [f"data.hospitals={json.dumps(sources)}"]

    def images_of(self, arm: str) -> dict[str, SiteImages]:
        layout = arm.partition("/")[0]
        if layout not in self.sites:
            self.sites[layout] = load_hospitals(self.experiment(arm))
        return self.sites[layout]

    def prepare(self, arm: str) -> None:
        """Compute the features of the arm's training images, or find them: files are found again as long as arms are
        prepared in the same order, whatever runs are finished."""
        experiment = self.experiment(arm)
        _, store = self.networks.build(experiment)
        versions = experiment.training.augmentation.feature_versions + 1
        for site in self.images_of(arm).values():
            for modality in site.modalities:
                store.versions(modality, site.splits["train"].of(modality), versions, keep=True)

    def run(self, arm: str, seed: int, rate: float, central: CentralData) -> Path:
        """Train one arm and keep what its selected model says of the test, or find it finished; returns its folder."""
        experiment = self.experiment(arm, seed, rate)
        path = experiment.run_folder
        if (path / "course.json").is_file():
            return path
        begun = time.process_time()
        done = HeadsRun(experiment, self.images_of(arm), self.networks, central)
        done.run(EVERY)
        seconds = time.process_time() - begun
        network, store = self.networks.build(self.experiment(arm))  # its seed draws the partners
        network.layout.write(done.best)
        found = {"one": predictions_on_test(network, store, central, 1)}
        found["many"] = predictions_on_test(network, store, central, PARTNERS)
        if network.tokens:
            parts = [predictions_on_test(network, store, central, 1, given) for given in ("xray", "ct")]
            found["alone"] = Predictions(parts[0].disease, parts[1].cancer)
        path.mkdir(parents=True, exist_ok=True)
        kept = {f"{view}.{head}": getattr(found[view], head) for view in found for head in HEADS}
        np.savez(path / "predictions.npz", **kept)
        areas = {
            number: [scores[head]["macro"]["roc_auc"] for head in HEADS] for number, scores in done.validation.items()
        }
        chosen = {"best_round": done.selection.best_round, "best_value": done.selection.best_value}
        course = {**chosen, "cpu_seconds": seconds, "validation": areas}
        write_text(path / "course.json", json.dumps(course, indent=1) + "\n")
        return path

    def same_as_a_run(self, arm: str, central: CentralData, rounds: int = 2) -> bool:
        """Whether a whole run of so many rounds ends with the weights of the rounds of this benchmark."""
        experiment = self.experiment(arm, 1, 1e-3)
        (phase,) = experiment.training.phases
        training = experiment.training.model_copy(update={"phases": (phase.model_copy(update={"rounds": rounds}),)})
        experiment = experiment.model_copy(update={"training": training, "name": "rounds"})
        done = HeadsRun(experiment, self.images_of(arm), self.networks, central)
        done.run()
        # Another name is another experiment, for which the network is set to its start again.
        experiment = experiment.model_copy(update={"name": "whole-run"})
        path = run_locally(experiment, self.images_of(arm), self.networks.build)
        model = SegmentLayout(keras.models.load_model(path / "model" / "best.keras")).read(HEAD_SEGMENTS)
        shutil.rmtree(path)
        return weights_digest(model) == weights_digest(done.best)


HEADS = ("disease", "cancer")


def _draw_blanks(folder: Path) -> None:
    """What a hospital gives that has nothing to give: one black picture, of which nothing is known."""
    black = Image.new("L", (224, 224))
    for file in ("north/ct/unknown/black.png", "south/xray/images/black.png"):
        (folder / file).parent.mkdir(parents=True)
        black.save(folder / file)
    header = (folder / "north" / "xray" / "labels.csv").read_text().splitlines()[0]
    cells = {"file": "images/black.png", "patient_id": "nobody"}
    row = ",".join(cells.get(column, "") for column in header.split(","))
    (folder / "south" / "xray" / "labels.csv").write_text(f"{header}\n{row}\n")


def resamples_in(path: Path, central: CentralData, experiment: Experiment) -> dict[str, Mapping[str, Resamples]]:
    """By view."""
    with np.load(path / "predictions.npz") as kept:
        views = {name.partition(".")[0] for name in kept}
        return {
            view: resamples_of(Predictions(*(kept[f"{view}.{head}"] for head in HEADS)), central, experiment)
            for view in VIEWS
            if view in views
        }


def table(arms: Mapping[str, Seeds], rates: Mapping[str, float]) -> Iterator[str]:
    yield f"| arm | learning rate | {' | '.join(SCORES)} |"
    yield "|---|---|" + "---|" * len(SCORES)
    for arm, seeds in arms.items():
        figures = [figure_of(seeds, score) for score in SCORES.values()]
        cells = [f"{f['value']:.3f} ({f['interval'][0]:.3f}-{f['interval'][1]:.3f})" for f in figures]
        yield f"| {arm}, {len(seeds)} seeds | {rates[arm]:g} | {' | '.join(cells)} |"


def comparisons(arms: Mapping[str, Seeds]) -> Iterator[tuple[str, str]]:
    """Which arms are compared: a way with branches of the same layout, a layout with the equal one."""
    for arm in arms:
        layout, _, way = arm.partition("/")
        if way == "branches" and layout in EQUAL:
            yield arm, f"{EQUAL[layout]}/branches"
        if way != "branches":
            yield f"{'lacking' if layout == 'blank' else layout}/branches", arm


def compared_arms(arms: Mapping[str, Seeds]) -> dict[str, Any]:
    """Print and return every comparison of which both arms were run, over the seeds that both have."""
    found: dict[str, Any] = {}
    print(f"| compared | {' | '.join(f'{name}: difference | ratio' for name in SCORES)} |")
    print("|---|" + "---|---|" * len(SCORES))
    for first, second in comparisons(arms):
        if first not in arms or second not in arms:
            continue
        both = min(len(arms[first]), len(arms[second]))
        key, cells = f"{first} against {second}", []
        found[key] = {"seeds": both}
        for name, score in SCORES.items():
            pair = compared(arms[first][:both], arms[second][:both], score)
            found[key][name] = pair
            for which, sign in (("difference", "+"), ("ratio", "")):
                low, high = pair[which]["interval"]
                cells.append(f"{pair[which]['value']:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})")
        print(f"| {key}, {both} seeds | {' | '.join(cells)} |")
    return found


def course_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "course.json").read_text())
    return found


def courses(paths: Mapping[str, list[Path]]) -> Iterator[str]:
    """How fast the arms get there: the central validation's macro ROC-AUCs, mean over the seeds, by round."""
    runs = {arm: [course_of(path)["validation"] for path in found] for arm, found in paths.items()}
    last = min(int(max(validation, key=int)) for each in runs.values() for validation in each)
    marks = [number for number in (4, 8, 16, 32, 64) if number <= last and number % EVERY == 0]
    yield f"| central validation, X-ray and CT | {' | '.join(f'round {mark}' for mark in marks)} |"
    yield "|---|" + "---|" * len(marks)
    for arm, each in runs.items():
        means = [np.mean([validation[str(mark)] for validation in each], axis=0) for mark in marks]
        yield f"| {arm} | {' | '.join(f'{xray:.3f} and {ct:.3f}' for xray, ct in means)} |"


def tuned_rate(bench: Bench, arm: str, rates: list[float], central: CentralData) -> float:
    """The one with the best central validation, with a seed that is not used again."""
    found = {rate: course_of(bench.run(arm, TUNING_SEED, rate, central))["best_value"] for rate in rates}
    print(f"{arm}: validation by learning rate {found}", flush=True)
    return max(found, key=lambda rate: found[rate])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    images = Path(os.environ.get("FEDTHORAX_REAL_DATA", "../shared/data"))
    parser.add_argument("--images", type=Path, default=images, help="the collections, as for `make real`")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-4, 1e-3, 3e-3])
    parser.add_argument("--arms", nargs="+", default=ARMS, metavar="ARM[=RATE]")
    parser.add_argument("--backwards", action="store_true", help="Begin with the last arm and the last seed.")
    parser.add_argument("--phantoms", type=int, metavar="PATIENTS", help="Phantoms in place of the real images.")
    parser.add_argument("--whole-run", action="store_true", help="Compare two rounds with a whole run, and end.")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/unequal"))
    arguments = parser.parse_args()
    place = arguments.out.absolute()
    bench = Bench(arguments.config, arguments.overrides, arguments.images, place, arguments.phantoms)
    given = dict(each.partition("=")[::2] for each in arguments.arms)
    central = central_without(bench.experiment("equal-3/branches"), bench.images_of("equal-3/branches").values())
    for arm in given:
        bench.prepare(arm)
    if arguments.whole_run:
        for arm in given:
            print(f"{arm}: a whole run ends with the same weights: {bench.same_as_a_run(arm, central)}", flush=True)
        return
    step = -1 if arguments.backwards else 1
    found = {
        arm: float(given[arm]) if given[arm] else tuned_rate(bench, arm, arguments.rates, central)
        for arm in list(given)[::step]
    }
    rates = {arm: found[arm] for arm in given}
    paths: dict[str, list[Path]] = {arm: [] for arm in given}
    for seed in range(1, arguments.seeds + 1)[::step]:
        for arm in list(rates)[::step]:
            paths[arm].append(bench.run(arm, seed, rates[arm], central))
        print(f"seed {seed}: {len(rates)} arms", flush=True)
    views: dict[str, dict[str, Seeds]] = {view: {} for view in VIEWS}
    for arm, each in paths.items():
        for path in each:
            for view, resamples in resamples_in(path, central, bench.experiment(arm)).items():
                views[view].setdefault(arm, []).append(resamples)
    summary: dict[str, Any] = {"test": {"xray": len(central.test.xray), "ct": len(central.test.ct)}, "rates": rates}
    print(*courses(paths), sep="\n")
    for view, arms in views.items():
        print(f"\nTest, {VIEWS[view]}", *table(arms, rates), "", sep="\n")
        summary[view] = {
            "arms": {
                arm: {name: figure_of(found, score) for name, score in SCORES.items()} for arm, found in arms.items()
            },
            "compared": compared_arms(arms),
        }
    (arguments.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
