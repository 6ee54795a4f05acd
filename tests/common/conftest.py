import pytest


@pytest.fixture(scope="session", autouse=True)
def tensorflow_as_in_a_run(request):
    """Threads and deterministic kernels are set before TensorFlow's first operation in this process, as in a run."""
    if any(item.path.parent.name in ("model", "training") for item in request.session.items):
        from fedthorax.common.training.runtime import prepare_tensorflow

        prepare_tensorflow(2)
