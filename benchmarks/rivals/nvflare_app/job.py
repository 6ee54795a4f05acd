"""NVFlare's TensorFlow FedAvg recipe in its simulator: two clients, each a process of its own."""

import sys

from network import Network
from nvflare.app_opt.tf.recipes.fedavg import FedAvgRecipe
from nvflare.recipe import SimEnv


def main() -> None:
    rounds, workspace = int(sys.argv[1]), sys.argv[2]
    recipe = FedAvgRecipe(
        name="round",
        num_rounds=rounds,
        model={"class_path": "network.Network", "args": {}} if "--by-name" in sys.argv else Network(),
        min_clients=2,
        train_script="client.py",
    )
    recipe.execute(SimEnv(num_clients=2, num_threads=2, workspace_root=workspace))


if __name__ == "__main__":
    main()
