"""Gene-length tables are read in the forms that people have, and refused by line where they are wrong."""

import hashlib
from pathlib import Path

import pytest

from labeltransfer.data.genes import lengths as module
from labeltransfer.data.genes.lengths import read_gene_lengths
from labeltransfer.errors import DownloadError, InputError
from labeltransfer.storage import download as download_module
from labeltransfer.storage.digests import file_digest
from tests.support.file_server import serve


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "lengths.txt"


@pytest.mark.parametrize(
    "text",
    [
        "Xkr4 3634\nSox17 1563.5\n",
        "Xkr4 3634\r\nSox17 1563.5",
        "Xkr4\t3634\nSox17\t1563.5\n\n",
        "Xkr4,3634\nSox17, 1563.5\n",
        '"Xkr4","3634"\n"Sox17","1563.5"\n',
        "gene length\nXkr4 3634\nSox17 1563.5\n",
        "gene\tlength\nXkr4\t3634\nSox17\t1563.5\n",
        "\ufeffgene,length\nXkr4,3634\nSox17,1563.5\n",
    ],
)
def test_the_usual_forms_read_alike(table: Path, text: str) -> None:
    table.write_bytes(text.encode())
    lengths = read_gene_lengths(str(table))
    assert lengths.to_dict() == {"Xkr4": 3634.0, "Sox17": 1563.5}
    assert lengths.dtype == float


def test_it_tells_where_the_table_comes_from_and_what_it_took_for_a_header(table: Path) -> None:
    table.write_text("gene length\nXkr4 100\nSox17 300\n")
    sentences: list[str] = []
    read_gene_lengths(str(table), report=sentences.append)
    assert any("'gene length'" in sentence and "header" in sentence for sentence in sentences)
    assert any(table.name in sentence and "2 genes" in sentence and "200" in sentence for sentence in sentences)
    assert not any(str(table.parent) in sentence for sentence in sentences), (
        "the place on the server is nobody's business"
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("Sox17", "one gene and one length"),
        ("Sox17 12 3", "one gene and one length"),
        ("Sox17 long", "'long'"),
        ("Sox17 -5", "above 0"),
        ("Sox17 0", "above 0"),
        ("Sox17 nan", "above 0"),
        ("Sox17 inf", "above 0"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(table: Path, line: str, complaint: str) -> None:
    table.write_text(f"Xkr4 3634\n\n{line}\nMrpl15 900\n")
    with pytest.raises(InputError, match=r"Line 3 of gene-length table lengths\.txt") as error:
        read_gene_lengths(str(table))
    assert complaint in str(error.value)


def test_a_first_line_with_an_impossible_length_is_no_header(table: Path) -> None:
    table.write_text("Xkr4 -1\nSox17 2\n")
    with pytest.raises(InputError, match="Line 1"):
        read_gene_lengths(str(table))


def test_a_gene_with_two_lengths_is_refused_with_both_lines(table: Path) -> None:
    table.write_text("Xkr4 3634\nSox17 2\nXkr4 100\n")
    with pytest.raises(InputError, match="Xkr4 two lengths, 3634 in line 1 and 100 in line 3"):
        read_gene_lengths(str(table))


def test_a_gene_named_twice_with_the_same_length_is_reported(table: Path) -> None:
    table.write_text("Xkr4 3634\nSox17 2\nXkr4 3634.0\n")
    sentences: list[str] = []
    assert len(read_gene_lengths(str(table), report=sentences.append)) == 2
    assert any("more than once" in sentence and "Xkr4" in sentence for sentence in sentences)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"gene length\n", b"\x89HDF\r\n\x1a\n\0\0", b"Xkr4 1\n\0 2\n"])
def test_what_is_no_table_is_refused(table: Path, content: bytes) -> None:
    table.write_bytes(content)
    with pytest.raises(InputError, match="gene and a length on each line"):
        read_gene_lengths(str(table))


def test_a_missing_table_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_gene_lengths(str(tmp_path / "none.txt"))


def test_the_tutorials_table_reads_as_it_is(shared_data: Path) -> None:
    lengths = read_gene_lengths(str(shared_data / "gene_len.txt"))
    assert len(lengths) == 20_508 and lengths.index.is_unique
    assert file_digest(shared_data / "gene_len.txt") == module.TUTORIAL_SHA256
    assert round(lengths.median()) == 158 and round(lengths["Ttn"]) == 359


def test_the_tutorials_table_is_fetched_once_and_kept(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"Xkr4 3634\nSox17 1563.5\n"
    monkeypatch.setattr(module, "TUTORIAL_SHA256", hashlib.sha256(content).hexdigest())
    with serve(content) as server:
        monkeypatch.setenv("LABELTRANSFER_MIRROR", f"{server.url}/lab/")
        sentences: list[str] = []
        assert len(read_gene_lengths(None, report=sentences.append)) == 2
        assert any("tutorial" in sentence and "2 genes" in sentence for sentence in sentences)
        read_gene_lengths(None)
        assert len(server.requests) == 1
        kept = lt_home / "downloads" / "gene_len.txt"
        kept.write_text("Xkr4 1\n")  # damaged: fetched again
        assert len(read_gene_lengths(None)) == 2
    assert len(read_gene_lengths(None)) == 2  # and now without a network


def test_another_file_in_its_place_is_never_used(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(b"Xkr4 3634\n") as server:
        monkeypatch.setenv("LABELTRANSFER_MIRROR", server.url)
        with pytest.raises(DownloadError, match="checksum"):
            read_gene_lengths(None)
    assert {p.name for p in (lt_home / "downloads").iterdir()} <= {"gene_len.txt.lock"}


def test_without_a_network_the_way_out_is_a_file(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "BACKOFF", 0.01)
    monkeypatch.setattr(module, "TUTORIAL_URL", "http://127.0.0.1:9/gene_len.txt")
    monkeypatch.delenv("LABELTRANSFER_MIRROR", raising=False)
    with pytest.raises(DownloadError, match="give a file with a gene and a length"):
        read_gene_lengths(None)
