from pathlib import Path

import pytest
from fakes.hub import FakeHub

from busi_unet.errors import HubAccessError, UsageError
from busi_unet.hub import PushResult, check_push, push_folder


@pytest.fixture
def push(tiny_model):
    return lambda **options: push_folder(tiny_model, "me/busi", **{"message": "First", **options})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


def pushed_commits(hub: FakeHub) -> int:
    """Return the commits after the one that every repository starts with."""
    return len(hub.repo("me/busi").commits) - 1


def test_the_folder_goes_up_in_one_commit(hub, tiny_model, push):
    (tiny_model / "examples").mkdir()
    (tiny_model / "examples" / "benign.png").write_bytes(b"not really an image")

    result = push()

    repository = hub.repo("me/busi")
    assert result == PushResult(f"{hub.url}/me/busi", repository.commits[-1].sha)
    assert [commit.message for commit in repository.commits] == ["initial commit", "First"]
    sent = dict(hub.files("me/busi"))
    del sent[".gitattributes"]
    assert sent == contents(tiny_model)


def test_a_new_repository_is_private_where_told_and_keeps_that(hub, push):
    push(private=True)
    push()
    assert hub.repo("me/busi").private
    push(repo_type="dataset")
    assert not hub.repo("me/busi", "dataset").private


def test_a_branch_is_created_where_missing(hub, push):
    for _ in range(2):
        push(revision="v1/stable")
    assert "model.safetensors" in hub.files("me/busi", "v1/stable")
    assert "model.safetensors" not in hub.files("me/busi")


def test_a_failed_push_is_resumed_without_sending_files_again(hub, push):
    hub.fail("POST", "/commit/", 403)
    with pytest.raises(HubAccessError):
        push()
    hub.requests.clear()

    push()

    assert not [line for line in hub.requests if line.startswith("PUT")]
    assert pushed_commits(hub) == 1


def test_files_that_are_gone_here_are_deleted_there_where_a_pattern_says_so(hub, tiny_model, push):
    hub.put("me/busi", {".gitattributes": b"", "old.png": b"1", "notes.md": b"2", "config.json": b"3"})

    push(delete_patterns=["*.png", "*.json", ".git*"])

    assert hub.files("me/busi").keys() == {".gitattributes", "notes.md", *contents(tiny_model)}
    assert pushed_commits(hub) == 1


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/whoami", {"drop": "start"}),
        ("/create", {"status": 429}),
        ("/variables", {"status": 503}),
        ("/lfs/", {"drop": "start"}),
        ("/commit/", {"status": 503}),
    ],
)
def test_a_passing_fault_anywhere_only_costs_time(hub, tiny_model, push, path, fault):
    hub.put("me/busi", {"old.png": b"1"}, repo_type="space")
    hub.fail("*", path, times=2, **fault)

    push(
        repo_type="space",
        revision="v1",
        delete_patterns=["*.png"],
        space_variables={"EMPTY": "", "A": "1"},
    )

    space = hub.repo("me/busi", "space")
    assert space.variables == {"EMPTY": "", "A": "1"}
    assert space.at("v1").files == contents(tiny_model)
    assert len(space.commits) == 2
    assert len(hub.waits) == 2


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub, push):
    hub.fail("POST", "/commit/", drop="answer")
    assert push().commit == hub.repo("me/busi").commits[-1].sha
    assert pushed_commits(hub) == 1


def test_a_public_repository_gets_no_private_files(hub, push):
    hub.put("me/busi", {"README.md": b""}, repo_type="dataset")
    for refuse in (push, lambda **options: check_push("me/busi", **options)):
        with pytest.raises(UsageError, match="data set me/busi is public, not private"):
            refuse(repo_type="dataset", private=True)
    assert hub.files("me/busi", repo_type="dataset").keys() == {"README.md"}


def test_a_space_whose_variables_cannot_be_set_gets_no_files(hub, push):
    hub.fail("POST", "/variables", 403)
    with pytest.raises(HubAccessError, match="the Space me/busi"):
        push(repo_type="space", space_variables={"A": "1"})
    assert hub.files("me/busi", repo_type="space").keys() == {".gitattributes"}
