import pytest

from busi_unet.errors import UsageError
from busi_unet.publish.folder import checked_id, describe_files, list_files, repository_folder


def write(output, *names):
    with repository_folder(output) as folder:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name, encoding="utf-8")


def test_an_earlier_folder_of_the_kind_is_replaced_whole(tmp_path):
    write(tmp_path / "repository", "README.md", "examples/a.png", "examples/gone.png")
    write(tmp_path / "repository", "README.md", "examples/a.png", "new.json")
    assert [file["path"] for file in list_files(tmp_path / "repository")] == [
        "README.md",
        "examples/a.png",
        "new.json",
    ]


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UsageError, match=r"holds thesis\.tex, which would be lost"):
        write(tmp_path, "README.md")
    assert (tmp_path / "README.md").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "thesis.tex"]


def test_the_output_cannot_be_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        write(tmp_path / "file", "README.md")


def test_the_listing_gives_sizes_and_their_sum(tmp_path):
    write(tmp_path / "repository", "b.txt", "sub/a.txt")
    files = list_files(tmp_path / "repository")
    assert files == [{"path": "b.txt", "bytes": 5}, {"path": "sub/a.txt", "bytes": 9}]
    assert describe_files(files).splitlines()[-1].split() == ["14", "bytes", "in", "2", "files"]


@pytest.mark.parametrize("repo_id", ["busi", "a/b/c", "me/my model", "", "me/"])
def test_what_is_no_hub_id(repo_id):
    assert checked_id("me/busi-2.0_x") == "me/busi-2.0_x"
    with pytest.raises(UsageError, match="is not a Hub id"):
        checked_id(repo_id)
