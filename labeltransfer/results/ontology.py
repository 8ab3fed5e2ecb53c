"""The Cell Ontology, offline: its terms, what is a kind of what, and how two of its terms stand to each other.

The ontology ships with the package ``cellxgene-ontology-guide``; nothing is downloaded. Read once a process, in about
a tenth of a second, it takes a few megabytes. What it calls ancestors are those along is_a alone: a term *is a kind
of* each of them. What a cell develops from is no ancestor of it.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from labeltransfer.errors import InputError

Verdict = Literal["exact", "more specific", "more general", "sibling", "unrelated"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

FAMILY = 1 / 16
"""A term with at most this share of all terms below it is a family: whatever lies in one is near kin.

T cell, B cell, hematopoietic precursor cell, myeloid leukocyte, fibroblast and endothelial cell are families;
lymphocyte, leukocyte, neuron, epithelial cell and hematopoietic cell are not. Breadth is taken for nearness, as in
Resnik's information content (1995), since steps are not alike long: a CD4 T cell is eight of them below ``cell``, a
platelet three. 1/16 is four bits.
"""

PARENT = 1 / 8
"""The same for a direct parent that two terms share: they are next of kin in the ontology, so it may be broader.

Lymphocyte is such a parent, of T cells and innate lymphoid cells; leukocyte, neuron and epithelial cell are too broad.
"""

NO_KINSHIP = {
    "CL:0000255": "eukaryotic cell",
    "CL:0000034": "stem cell",
    "CL:0000723": "somatic stem cell",
    "CL:0011026": "progenitor cell",
    "CL:0011115": "precursor cell",
    "CL:0000048": "multi fate stem cell",
    "CL:0000151": "secretory cell",
    "CL:1100001": "secretory epithelial cell",
    "CL:0000183": "contractile cell",
    "CL:0000234": "phagocyte",
    "CL:0000518": "phagocyte (sensu Vertebrata)",
    "CL:0000145": "professional antigen presenting cell",
    "CL:0000325": "stuff accumulating cell",
    "CL:0000630": "supporting cell",
    "CL:0000219": "motile cell",
    "CL:0002242": "nucleate cell",
    "CL:0000226": "single nucleate cell",
    "CL:0000081": "blood cell",
    "CL:1000497": "kidney cell",
    "CL:0002681": "kidney cortical cell",
    "CL:1000504": "kidney medulla cell",
    "CL:0002494": "cardiocyte",
}
"""Terms that gather cells by what they do or where they lie, not by kind: to share one makes no kin.

A blood stem cell and a hair follicle's are both stem cells, an endothelial cell and a tubule's both kidney cells.
"""


@dataclass(frozen=True)
class Ontology:
    """Terms of the Cell Ontology by id, obsolete ones left out.

    ``names`` and ``synonyms`` (exact ones) say how each is called, ``ancestors`` what it is a kind of, itself left out,
    ``parents`` the direct ones among these, ``n_below`` how many terms are kinds of it. ``replaced`` leads from
    obsolete ids to present ones, where the ontology says which.
    """

    version: str
    names: dict[str, str]
    synonyms: dict[str, tuple[str, ...]]
    ancestors: dict[str, frozenset[str]]
    parents: dict[str, frozenset[str]]
    n_below: dict[str, int]
    replaced: dict[str, str]

    def find(self, term_id: object) -> str | None:
        """The present id behind an id as files write it (``CL:0000084``, ``CL_0000084``); None if there is none."""
        text = str(term_id).strip().replace("_", ":").upper()
        text = self.replaced.get(text, text)
        return text if text in self.names else None

    def is_kind_of(self, term: str, other: str) -> bool:
        """Whether a term is another or a descendant of it."""
        return term == other or other in self.ancestors[term]

    def is_narrow(self, term: str, share: float) -> bool:
        """Whether a term tells of kinship: at most a share of all terms is below it, and it gathers by kind."""
        return term not in NO_KINSHIP and self.n_below[term] <= share * len(self.names)

    def verdict(self, observed: str, predicted: str) -> Verdict:
        """How a predicted term stands to an observed one.

        Parameters
        ----------
        observed, predicted
            Ids of terms of this ontology.

        Returns
        -------
        ``exact``: the same term. ``more specific``: the predicted is a kind of the observed. ``more general``: the
        other way round. ``sibling``: neither, but they share a direct parent that is no broader than ``PARENT``, or
        any ancestor that is a ``FAMILY``. ``unrelated``: what they share is broad, such as leukocyte.
        """
        if observed == predicted:
            return "exact"
        if observed in self.ancestors[predicted]:
            return "more specific"
        if predicted in self.ancestors[observed]:
            return "more general"
        if any(self.is_narrow(term, PARENT) for term in self.parents[observed] & self.parents[predicted]):
            return "sibling"
        shared = self.ancestors[observed] & self.ancestors[predicted]
        return "sibling" if any(self.is_narrow(term, FAMILY) for term in shared) else "unrelated"


@cache
def cell_ontology() -> Ontology:
    """The Cell Ontology that ships with ``cellxgene-ontology-guide``, read at the first call.

    Raises
    ------
    InputError
        The package is not there, or its ontology cannot be read.
    """
    try:
        from cellxgene_ontology_guide import supported_versions

        schema = supported_versions.CXGSchema()
        stored = schema.ontology("CL")
        # It keeps all that it ever read; definitions and comments, most of it, are of no use here.
        supported_versions.clear_ontology_file_cache()
    except (ImportError, OSError, ValueError) as error:
        raise InputError(
            f"The Cell Ontology cannot be read ({error}), so labels are compared as text alone: install "
            "requirements.txt again."
        ) from error
    present = {term: told for term, told in stored.items() if not told.get("deprecated")}
    # Ids as keys and inside sets are each one object, however often they stand there.
    own = {term: term for term in present}
    ancestors = {term: frozenset(own[a] for a in told["ancestors"] if a in own) for term, told in present.items()}
    n_below = Counter(ancestor for above in ancestors.values() for ancestor in above)
    return Ontology(
        version=str(schema.supported_ontologies["CL"]["version"]),
        names={term: str(told["label"]) for term, told in present.items()},
        synonyms={term: tuple(told.get("synonyms", ())) for term, told in present.items()},
        ancestors=ancestors,
        parents={
            term: frozenset(own[a] for a, steps in told["ancestors"].items() if steps == 1 and a in own)
            for term, told in present.items()
        },
        n_below={term: n_below[term] for term in present},
        replaced={
            term: told["replaced_by"]
            for term, told in stored.items()
            if told.get("deprecated") and told.get("replaced_by") in present
        },
    )
