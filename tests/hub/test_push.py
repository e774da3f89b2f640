from __future__ import annotations

import pytest
from fakes.fault_table import World
from fakes.hub_server import READ, WRITE

from busi_unet.errors import BusiUNetError, HubAccessError, UsageError
from busi_unet.hub import PushResult, check_push, is_private, push_folder

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def push(world: World, **options) -> PushResult:
    return push_folder(world.folder, "me/busi", **{"message": "First", **options})


def pushed_commits(world: World) -> int:
    """Commits after the one that every repository starts with."""
    return len(world.hub.repo("me/busi").commits) - 1


def files_here(world: World) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in world.folder.iterdir()}


def test_the_folder_goes_up_in_one_commit(world: World):
    (world.folder / "examples").mkdir()
    (world.folder / "examples" / "benign.png").write_bytes(b"not really a picture")

    result = push(world)

    repository = world.hub.repo("me/busi")
    assert result == PushResult(f"{world.hub.url}/me/busi", repository.commits[-1].sha)
    assert pushed_commits(world) == 1
    assert repository.commits[-1].message == "First"
    sent = world.hub.files("me/busi")
    assert sent.pop("examples/benign.png") == b"not really a picture"
    del sent[".gitattributes"]
    assert sent == {path.name: path.read_bytes() for path in world.folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("options", "private"), [({}, False), ({"private": True}, True), ({"private": False}, False)]
)
def test_visibility_of_a_new_repository(world: World, options: dict, private: bool):
    push(world, **options)
    assert world.hub.repo("me/busi").private is private


def test_a_repository_that_exists_keeps_its_visibility(world: World):
    push(world, private=True)
    push(world)
    assert world.hub.repo("me/busi").private


@pytest.mark.parametrize("repo_type", ["dataset", "space"])
def test_other_kinds_of_repository(world: World, repo_type: str):
    result = push(world, repo_type=repo_type, space_sdk="gradio" if repo_type == "space" else None)

    assert result.url == f"{world.hub.url}/{repo_type}s/me/busi"
    assert world.hub.files("me/busi", repo_type=repo_type)["model.safetensors"] == world.weights
    assert world.hub.repo("me/busi", repo_type).sdk == ("gradio" if repo_type == "space" else None)


def test_a_branch_is_created_where_missing(world: World):
    for _ in range(2):
        push(world, revision="v1/stable")

    assert "model.safetensors" in world.hub.files("me/busi", "v1/stable")
    assert "model.safetensors" not in world.hub.files("me/busi")


def test_nothing_new_makes_no_commit(world: World):
    assert push(world) == push(world)
    assert pushed_commits(world) == 1


def test_what_the_hub_has_is_not_sent_again(world: World):
    world.hub.fail("POST", "/commit/", 403)
    with pytest.raises(HubAccessError):
        push(world)
    world.hub.requests.clear()

    push(world)

    assert not [line for line in world.hub.requests if line.startswith("PUT")]
    assert pushed_commits(world) == 1


def test_files_that_are_gone_here_vanish_there_where_the_pattern_says_so(world: World):
    world.hub.put("me/busi", {".gitattributes": b"", "old.png": b"1", "notes.md": b"2", "config.json": b"3"})

    push(world, delete_patterns=["*.png", "*.json", ".git*"])

    assert world.hub.files("me/busi").keys() == {".gitattributes", "notes.md", *files_here(world)}
    assert len(world.hub.repo("me/busi").commits) == 2


def test_git_and_cache_folders_stay_here(world: World):
    for hidden in (".git", ".cache"):
        (world.folder / hidden).mkdir()
        (world.folder / hidden / "secret").write_text("x", encoding="utf-8")
    push(world)
    assert not [path for path in world.hub.files("me/busi") if "secret" in path]


PASSING = [
    pytest.param(method, path, fault, id=f"{method} {path} {fault}")
    for method, path in [
        ("GET", "/whoami"),
        ("POST", "/repos/create"),
        ("POST", "/branch/"),
        ("POST", "/variables"),
        ("GET", "/tree/"),
        ("POST", "/preupload/"),
        ("POST", "/objects/batch"),
        ("PUT", "/lfs/"),
        ("POST", "/lfs/verify"),
        ("POST", "/commit/"),
    ]
    for fault in ({"status": 503}, {"status": 429, "headers": {"Retry-After": "7"}}, {"drop": "start"})
]


@pytest.mark.parametrize(("method", "path", "fault"), PASSING)
def test_a_passing_fault_anywhere_only_costs_time(world: World, method: str, path: str, fault: dict):
    world.hub.put("me/busi", {"old.png": b"1"}, repo_type="space")
    world.hub.fail(method, path, times=2, **fault)

    push(
        world,
        repo_type="space",
        space_sdk="gradio",
        revision="v1",
        delete_patterns=["*.png"],
        space_variables={"EMPTY": "", "A": "1"},
    )

    space = world.hub.repo("me/busi", "space")
    assert space.variables == {"EMPTY": "", "A": "1"}
    assert space.at("v1").files.keys() == files_here(world).keys()
    assert space.at("v1").files["model.safetensors"] == world.weights
    assert len(space.commits) == 2
    assert len(world.hub.waits) == 2
    assert min(world.hub.waits) >= (7 if "headers" in fault else 1)


def test_an_upload_that_breaks_half_way_is_repeated_whole(world: World):
    world.hub.fail("PUT", "/lfs/", drop="middle")
    push(world)
    assert world.hub.files("me/busi")["model.safetensors"] == world.weights


def test_a_commit_whose_answer_is_lost_is_not_made_twice(world: World):
    world.hub.fail("POST", "/commit/", drop="answer")

    result = push(world)

    assert pushed_commits(world) == 1
    assert result.commit == world.hub.repo("me/busi").commits[-1].sha


def test_pauses_grow_and_end(world: World):
    world.hub.fail("POST", "/repos/create", 503, times=99)
    with pytest.raises(HubAccessError):
        push(world)
    assert world.hub.waits == [1, 2, 4, 8, 16]


def test_nobody_waits_for_an_hour(world: World):
    world.hub.fail("POST", "/repos/create", 429, times=99, headers={"Retry-After": "3600"})
    with pytest.raises(HubAccessError):
        push(world)
    assert world.hub.waits == []


def test_without_a_token_nothing_is_sent(world: World):
    world.hub.login(None)
    with pytest.raises(HubAccessError, match="nothing was sent"):
        push(world)
    assert world.hub.requests == []


@pytest.mark.parametrize("repo_id", ["me/busi", "someone/busi"])
def test_a_token_that_may_not_write_is_told_before_anything_is_made(world: World, repo_id: str):
    world.hub.login(READ if repo_id == "me/busi" else WRITE)
    with pytest.raises(BusiUNetError, match="nothing was sent"):
        check_push(repo_id)
    assert world.hub.repositories == {}


def test_a_public_repository_gets_no_private_files(world: World):
    world.hub.put("me/busi", {"README.md": b""}, repo_type="dataset")
    for refuse in (push, lambda _, **options: check_push("me/busi", **options)):
        with pytest.raises(UsageError, match="data set me/busi exists and is public") as caught:
            refuse(world, repo_type="dataset", private=True)
        assert f"{world.hub.url}/datasets/me/busi/settings" in caught.value.hint
    assert world.hub.files("me/busi", repo_type="dataset").keys() == {"README.md"}


def test_what_is_private_or_not_there_may_be_pushed_private(world: World):
    check_push("me/busi", private=True)
    world.hub.put("me/busi", {}, private=True)
    check_push("me/busi", private=True)
    world.hub.put("me/public", {})
    check_push("me/public")
    assert [is_private(f"me/{name}") for name in ("busi", "public", "nothing")] == [True, False, None]


@pytest.mark.parametrize("content", [None, {}])
def test_no_folder_or_an_empty_one(world: World, tmp_path, content):
    folder = tmp_path / "nothing"
    if content is not None:
        folder.mkdir()
    with pytest.raises(UsageError, match="nothing to push"):
        push_folder(folder, "me/busi", message="First")
    assert world.hub.requests == []


def test_a_space_whose_variables_cannot_be_set_gets_no_files(world: World):
    world.hub.fail("POST", "/variables", 403, message="no right to set variables")
    with pytest.raises(HubAccessError, match=r"write the Space me/busi \(403\): no right to set variables"):
        push(world, repo_type="space", space_sdk="gradio", space_variables={"A": "1"})
    assert world.hub.files("me/busi", repo_type="space").keys() == {".gitattributes"}
