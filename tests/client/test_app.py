import pytest
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedthorax.client.app import work
from fedthorax.common.messages.reading import read_reply
from fedthorax.common.messages.sending import closed, from_flower, to_flower
from fedthorax.common.messages.tasks import PresentTask


@pytest.fixture(autouse=True)
def inside_a_run(monkeypatch):
    """Flower's messages ask in which run they are made."""
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def test_the_words_of_an_error_stay_at_the_hospital(capsys):
    node = {"socket": "/nobody/listens/here"}
    context = Context(run_id=1, node_id=11, node_config=node, state=RecordDict(), run_config={}, series_id=1)
    with pytest.raises(RuntimeError, match=r"^an error inside the hospital; its own log says which$") as caught:
        work(Message(RecordDict({}), 11, "query"), context)
    assert caught.value.__suppress_context__
    assert "Traceback" in capsys.readouterr().err


def test_whether_a_hospital_is_there_is_answered_without_its_worker():
    task = PresentTask(site="north", round=2, run="r")
    node = {"socket": "/nobody/listens/here"}
    message = Message(to_flower(closed(task)), 11, "query")
    context = Context(run_id=1, node_id=11, node_config=node, state=RecordDict(), run_config={}, series_id=1)
    reply = read_reply(from_flower(work(message, context).content), task)
    assert (reply.kind, reply.site, reply.round, reply.task_id, reply.error) == ("present", "north", 2, task.id, None)
    assert not reply.weights
