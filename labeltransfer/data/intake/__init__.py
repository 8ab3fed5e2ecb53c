"""Look at an input before it is used: open it safely, list what it has, and report what is wrong and how to fix it.

Pages and the command line take from here what is named below, and ``probe.probe``, the first look at an upload in a
process that can be ended.
"""

from labeltransfer.data.intake.columns import Guess, filter_rows, guess, is_unlabelled
from labeltransfer.data.intake.finding import Finding, Severity
from labeltransfer.data.intake.gene_report import compare_genes, gene_finding, gene_index, other_gene_names
from labeltransfer.data.intake.input_report import inspect
from labeltransfer.data.intake.summary import Kind, Summary, read_summary

__all__ = [
    "Finding",
    "Guess",
    "Kind",
    "Severity",
    "Summary",
    "compare_genes",
    "filter_rows",
    "gene_finding",
    "gene_index",
    "guess",
    "inspect",
    "is_unlabelled",
    "other_gene_names",
    "read_summary",
]
