"""Which term of the Cell Ontology each label of a run has, and the way to set it by hand."""

import streamlit as st

from labeltransfer.results.label_terms import LabelTerm, read_by_hand, set_by_hand, undo_by_hand
from labeltransfer.results.ontology import cell_ontology
from labeltransfer.results.verdicts import label_table
from labeltransfer.runs.run import Run
from pages.shared.words import plain

RELATIONS: dict[str | None, str] = {
    "exact": "has it",
    "coarser": "has a kind of it",
    "finer": "has what it is a kind of",
    "missing": "lacks it",
    None: "unknown, for it has no term",
}
NO_TERM = "no term"


def show_terms(run: Run, terms: dict[str, LabelTerm], known: list[str]) -> None:
    """Which term each label has, those without one first, and the way to set it by hand."""
    table = label_table(terms, known)
    without = [term.label for term in terms.values() if term.id is None]
    title = f"{len(terms) - len(without)} of {len(terms)} labels have a term of the Cell Ontology"
    with st.expander(title, icon=":material/account_tree:", key="compare-terms"):
        if without:
            st.caption(f"Without a term, so without a verdict: {', '.join(map(plain, without))}.")
        st.dataframe(
            table.assign(
                relation_to_reference=[RELATIONS[r] for r in table["relation_to_reference"]],
                without=table["term_id"].isna(),
            )
            .sort_values(["without", "label"], ascending=[False, True])
            .drop(columns=["without", "in_reference"]),
            hide_index=True,
            column_config={
                "label": st.column_config.TextColumn("Label", pinned=True),
                "term_id": "Term",
                "term_name": "Name of the term",
                "mapped_by": st.column_config.TextColumn(
                    "Found by",
                    help="id: a column of the file; name or synonym: the text, whatever its case, plural and hyphens.",
                ),
                "relation_to_reference": "The reference",
            },
            placeholder="–",
            alt=f"Terms of {len(terms)} labels",
        )
        if run.id == "demo":
            st.caption("The demo run is everybody's: its terms stay as they are.")
        else:
            mend(run, terms)


def mend(run: Run, terms: dict[str, LabelTerm]) -> None:
    """Set the term of a label by hand, or take the last change back."""
    _, n_steps = read_by_hand(run.folder)
    # Those without a term first: they are why one comes here.
    labels = sorted(terms, key=lambda label: (terms[label].id is not None, label.lower()))
    label = st.selectbox(
        "Label to mend", labels, format_func=lambda name: f"{name} ({terms[name].name or NO_TERM})", key="mend-label"
    )
    spelt = _spelt()
    term = st.selectbox(
        "Its term",
        ["", *spelt],
        index=None,
        format_func=lambda key: spelt.get(key, NO_TERM),
        placeholder="Type a name, a synonym or an id",
        key=f"mend-term-{label}",
    )
    with st.container(horizontal=True):
        if st.button("Set the term", disabled=term is None, icon=":material/check:", key="mend-set"):
            set_by_hand(run.folder, {label: term or None})
            st.rerun()
        undo = f"Undo the last of {n_steps} changes" if n_steps > 1 else "Undo the change"
        if n_steps and st.button(undo, icon=":material/undo:", key="mend-undo"):
            undo_by_hand(run.folder)
            st.rerun()
    st.caption("Kept with the run, for everybody who opens it; the file's own labels are not changed.")


@st.cache_resource(max_entries=1, show_spinner=False)
def _spelt() -> dict[str, str]:
    """How each term is offered, by id: synonyms too, for one types what one knows."""
    ontology = cell_ontology()
    also = {term: f", also {', '.join(others)}" if others else "" for term, others in ontology.synonyms.items()}
    by_name = sorted(ontology.names.items(), key=lambda item: item[1].lower())
    return {term: f"{name} ({term}){also[term]}" for term, name in by_name}
