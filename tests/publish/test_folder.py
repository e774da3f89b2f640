import pytest

from busi_unet.errors import UsageError
from busi_unet.publish.folder import describe_files, dry_run, list_files, repository_folder


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


@pytest.mark.parametrize("foreign", ["thesis.tex", "README.md", "examples/mine.png"])
def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path, foreign):
    (tmp_path / foreign).parent.mkdir(exist_ok=True)
    (tmp_path / foreign).write_text("years of work")
    with pytest.raises(UsageError, match=f"holds {foreign}, which no dry run wrote"):
        write(tmp_path, "README.md", "examples/a.png")
    assert [file["path"] for file in list_files(tmp_path)] == [foreign]
    assert (tmp_path / foreign).read_text() == "years of work"


def test_what_was_added_to_an_earlier_folder_is_not_lost(tmp_path):
    output = tmp_path / "repository"
    write(output, "README.md", "examples/a.png")
    (output / "examples" / "mine.png").write_text("mine")
    with pytest.raises(UsageError, match=r"holds examples/mine\.png"):
        write(output, "README.md", "examples/a.png")
    assert (output / "examples" / "mine.png").read_text() == "mine"


def test_an_empty_output_is_filled_and_what_is_sent_is_listed_alone(tmp_path):
    (tmp_path / "empty").mkdir()

    def build(output):
        with repository_folder(output) as folder:
            (folder / "README.md").write_text("x", encoding="utf-8")
        return output

    for output in (None, tmp_path / "empty", tmp_path / "empty"):
        assert dry_run(build, output) == [{"path": "README.md", "bytes": 1}]


def test_the_output_cannot_be_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        write(tmp_path / "file", "README.md")


def test_the_listing_gives_sizes_and_their_sum(tmp_path):
    write(tmp_path / "repository", "b.txt", "sub/a.txt")
    files = list_files(tmp_path / "repository")
    assert files == [{"path": "b.txt", "bytes": 5}, {"path": "sub/a.txt", "bytes": 9}]
    assert describe_files(files).splitlines()[-1].split() == ["14", "bytes", "in", "2", "files"]
