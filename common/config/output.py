"""Where a run is written."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedthorax.common.ground.frozen import Frozen


class OutputConfig(Frozen):
    """The run folder is ``folder/NAME``."""

    folder: Annotated[Path, Field(strict=False)] = Field(
        default=Path("runs"), description="Folder in which run folders are made."
    )
    keep_checkpoints: int = Field(
        default=2, ge=1, description="Newest round checkpoints kept beside the best and the last model."
    )
    tensorboard: bool = Field(
        default=False,
        description="Write the main figures of every round for TensorBoard too, into tensorboard/ of the run folder.",
    )
    mlflow: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="Folder in which MLflow keeps its runs: the main figures go there too; null: do not."
    )
