import pytest

from busi_unet.errors import HubAccessError, UsageError
from busi_unet.publish import dry_run, push_built, repository_folder


def build(output):
    with repository_folder(output) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("sub/a.txt", encoding="utf-8")
        (folder / "README.md").write_text("x", encoding="utf-8")
    return output


def test_a_dry_run_lists_what_is_built_and_keeps_it_where_told(tmp_path):
    (tmp_path / "empty").mkdir()
    for output in (None, tmp_path / "empty", tmp_path / "new"):
        files, text = dry_run(build, output)
        assert files == [{"path": "README.md", "bytes": 1}, {"path": "sub/a.txt", "bytes": 9}]
    assert (tmp_path / "new" / "README.md").is_file()
    assert text.splitlines()[-1].split() == ["10", "bytes", "in", "2", "files"]


@pytest.mark.parametrize("output", [".", "thesis.tex"])
def test_what_is_there_is_never_replaced(tmp_path, output):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="is not an empty folder"):
        build(tmp_path / output)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            HubAccessError("It broke.", "Fix it."),
            "It broke. The weights are intact. Fix it. Then resume with: push 'runs/my run' --private",
        ),
        (UsageError("No such name.", "Use another."), "No such name. Use another."),
    ],
    ids=["may work later", "would be wrong again"],
)
def test_a_failure_says_what_is_intact_and_which_command_resumes(error, says):
    def fail(_folder):
        raise error

    with pytest.raises(type(error)) as caught:
        push_built(
            fail, "me/x", command=["push", "runs/my run", "--private"], intact="The weights are intact."
        )
    assert str(caught.value) == says
