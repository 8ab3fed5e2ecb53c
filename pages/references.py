"""The library of references: what is published, publish what was trained, train one, delete one."""

import streamlit as st

from labeltransfer.runs.library.library import Library
from labeltransfer.runs.records.store import default_store
from pages.door.sign_in import visitor
from pages.references_parts.publish import choose_for_mapping, confirm_delete, publish_form, train_form
from pages.shared.frame import catching, go, guard, page_header
from pages.shared.library_view import show_card
from pages.shared.words import plain, size, when

guard()
page_header("References")
st.caption(
    "Trained references that queries are mapped onto without training again: one model labels every query, and none of "
    "them changes it."
)

with catching():
    library = Library(default_store().root)
    cards, damaged = library.cards(), library.damaged()
    chosen = None
    if cards:
        names = {card.name: card for card in cards}
        name = st.selectbox(
            "Published reference",
            list(names),
            format_func=lambda n: f"{n} ({names[n].n_cells:,} cells, {len(names[n].labels)} labels)",
            key="library-name",
        )
        chosen = names.get(name or "")
    elif not damaged:
        st.info("No reference is published yet. Train one below.", icon=":material/info:")
    for name, why in damaged.items():
        st.warning(f"The reference {plain(name)} is damaged: {plain(why)}", icon=":material/broken_image:")
        if visitor().admin and st.button(f"Delete {plain(name)}", icon=":material/delete:", key=f"delete-{name}"):
            library.delete(name, by=visitor())
            st.rerun()
    if chosen:
        show_card(chosen)
        owner = f" by {plain(chosen.owner)}" if chosen.owner else ""
        n_bytes = library.n_bytes(chosen.name)
        st.caption(f"Published {when(chosen.published)}{owner}; {size(n_bytes)} on disk.")
        with st.container(horizontal=True):
            if st.button("Map a query onto it", type="primary", icon=":material/arrow_forward:"):
                choose_for_mapping(chosen)
                go("pages/data.py")
            if st.button("Delete", icon=":material/delete:", disabled=not library.may_change(chosen, visitor())):
                confirm_delete(library, chosen)

with catching():
    st.subheader("Publish", anchor=False, help="A finished run over a reference alone becomes a published reference.")
    publish_form(library)
with catching():
    st.subheader(
        "Train a reference",
        anchor=False,
        help="With the preset Atlas reference, whose architecture takes new batches later. No query is needed.",
    )
    train_form()
