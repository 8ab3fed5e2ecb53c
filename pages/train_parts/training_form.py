"""The settings of a training: preset, everything else under "Advanced", and what can be expected of it."""

from typing import Any

import streamlit as st
from pydantic import BaseModel

from labeltransfer.classifiers import VOTERS
from labeltransfer.config import config
from labeltransfer.params import EmbedParams, IntegrateParams, PanelParams, RunParams, TransferParams
from labeltransfer.presets import (
    DEFAULT_PRESET,
    PRESET_HELP,
    PRESETS,
    Pace,
    mapping_pace,
    scanvi_pace,
    scvi_pace,
)
from labeltransfer.runs.queue.devices import devices
from labeltransfer.runs.records.store import default_store
from labeltransfer.runs.worker import pipeline
from labeltransfer.runs.worker.stages import stage_titles
from pages.shared.draft import Draft
from pages.shared.queue_words import before_next
from pages.shared.widgets import setting_input, settings_grid
from pages.shared.words import plain

PRESET_TITLES: dict[str, str] = {
    "fast": "Fast",
    "tutorial": "Tutorial",
    "quick": "Quick look",
    "atlas": "Atlas reference",
    "own": "Own settings",
}
SECTIONS: dict[str, tuple[str, type[BaseModel]]] = {
    "integrate": ("scVI", IntegrateParams),
    "transfer": ("scANVI", TransferParams),
    "panel": ("Labels", PanelParams),
    "embed": ("Maps (MDE)", EmbedParams),
}


def training_form(held: Draft) -> RunParams:
    """Show the settings and return those of the run; raises SettingsError."""
    for section, (_, model) in SECTIONS.items():
        if section not in held.settings:
            start = PRESETS[DEFAULT_PRESET].get(section, model())
            held.change(**{section: start.model_dump(mode="json")})
    preset_place = st.container()
    with st.expander("Advanced", icon=":material/tune:"):
        for section, (title, model) in SECTIONS.items():
            st.markdown(f"**{title}**")
            if section == "panel":
                panel_settings(held)
                continue
            fields = settings_grid(
                model, list(model.model_fields), held.settings[section], held.key(section), columns=4
            )
            held.set_section(section, **fields)
        st.markdown("**Run**")
        held.change(**settings_grid(RunParams, ("seed", "device"), held.settings, held.key("run"), columns=4))
    with preset_place:
        _preset(held)
    with st.container(width=420):
        name = setting_input(RunParams, "name", held.settings.get("name"), held.key("name"))
    held.change(name=name)
    return held.params(last_stage="evaluate")


def panel_settings(held: Draft) -> None:
    """Whose label is handed out, and which classifiers are asked."""
    kept = held.settings.get("panel") or {}
    about, titles = PanelParams.model_fields["left_out"], {voter.name: voter.title for voter in VOTERS}
    answer = settings_grid(PanelParams, ["answer"], kept, held.key("panel"), columns=4)
    explained = " ".join(f"{voter.title}: {voter.description}" for voter in VOTERS)
    left_out = st.multiselect(
        about.title or "",
        list(titles),
        default=[name for name in kept.get("left_out", ()) if name in titles],
        format_func=titles.__getitem__,
        placeholder="None: all are asked",
        key=held.key("panel-left_out"),
        help=f"{about.description} {explained}",
    )
    held.set_section("panel", **answer, left_out=left_out)


def mapping_form(held: Draft) -> RunParams:
    """The few settings of a mapping, and those of the run; raises SettingsError."""
    st.markdown(
        f"The query is mapped onto **{plain(held.settings['mapping']['reference'])}**: its models learn the query's "
        "batches and nothing else. Labels, genes and architecture are the reference's own."
    )
    with st.expander("Advanced", icon=":material/tune:"):
        for section, names in (("transfer", ["max_epochs"]), ("embed", list(EmbedParams.model_fields))):
            title, model = SECTIONS[section]
            st.markdown(f"**{title}**")
            kept = held.settings.get(section) or {}
            held.set_section(section, **settings_grid(model, names, kept, held.key(f"map-{section}"), columns=4))
        st.markdown(f"**{SECTIONS['panel'][0]}**")
        panel_settings(held)
        st.markdown("**Run**")
        held.change(**settings_grid(RunParams, ("seed", "device"), held.settings, held.key("run"), columns=4))
    with st.container(width=420):
        name = setting_input(RunParams, "name", held.settings.get("name"), held.key("name"))
    held.change(name=name)
    return held.params(last_stage="evaluate")


def _preset(held: Draft) -> None:
    now = preset_of(held.settings)
    # A reference is trained alone, from the References page: with a query next to it, it could not be published.
    options = [name for name in PRESET_TITLES if name == now or name not in ("atlas", "own")]
    key = held.key("preset")
    st.session_state[key] = now

    def choose() -> None:
        chosen = st.session_state[key]
        if chosen in PRESETS:
            held.revision += 1  # the widgets under "Advanced" start again
            held.change(**{section: s.model_dump(mode="json") for section, s in PRESETS[chosen].items()})

    st.segmented_control(
        "Preset",
        options,
        format_func=PRESET_TITLES.__getitem__,
        key=key,
        on_change=choose,
        required=True,
        help="All settings of both trainings at once.",
    )
    helps = {str(name): text for name, text in PRESET_HELP.items()} | {"own": "Your own settings, under Advanced."}
    st.caption(helps[now])


def preset_of(settings: dict[str, Any]) -> str:
    """Name of the preset that both trainings' settings agree with, else 'own'."""
    for name, sections in PRESETS.items():
        if all(settings.get(s) == preset.model_dump(mode="json") for s, preset in sections.items()):
            return name
    return "own"


def expectations(held: Draft, params: RunParams) -> None:
    """Say what the run will do: epochs, reuse and device."""
    counted = [held.notes.get(f"{side}_counted", {}).get("n_cells") for side in ("reference", "query")]
    lines = []
    if params.mapping and counted[1]:
        pace = mapping_pace(params.transfer.max_epochs, n_cells=counted[1])
        lines.append(f"{pace.max_epochs} epochs over {counted[1]:,} query cells, {pace.batch_size} cells per step.")
    elif all(counted):
        n_cells = sum(counted)
        scvi, scanvi = scvi_pace(params.integrate, n_cells=n_cells), scanvi_pace(params.transfer, n_cells=n_cells)
        lines.append(
            f"{_at_most(scvi).capitalize()} epochs of scVI and {_at_most(scanvi)} of scANVI over {n_cells:,} cells, "
            f"{scvi.batch_size} cells per step."
        )
    store = default_store()
    reused = pipeline.reusable_stages(store, params)
    if len(reused) == len(pipeline.stages_of(params)):
        lines.append("Every stage of this run is finished already: it opens within seconds.")
    elif reused:
        titles = stage_titles(params)
        named = ", ".join(f"'{titles[stage]}'" for stage in reused)
        lines.append(f":material/recycling: Finished before and reused: {named}.")
    if config().executor == "ray":
        lines.append("It runs on the cluster, as soon as that has a place free.")
    else:
        names = dict.fromkeys(plain(device.name) for device in devices(params.device))
        lines.append(f"It runs on {' or '.join(names)}.")
        if waits := before_next(params):
            lines.append(waits)
    st.markdown("  \n".join(lines))


def _at_most(pace: Pace) -> str:
    return f"{'at most ' if pace.patience else ''}{pace.max_epochs}"
