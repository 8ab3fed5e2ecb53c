"""Common abbreviations and spellings of cell types, such as ``T_CD4`` or ``FCGR3A+ Mono``, and the terms they mean.

The ontology names few of the short labels that people write. Those that mean one thing wherever they occur are in
``SPELLINGS``; those that mean one thing in one tissue alone are in ``IN_TISSUE`` and count only where other labels of
the same run are of that tissue. Names that stay unclear are left without a term, and so are those of a state that the
ontology lacks, as two labels of one term count as the same (activated and quiescent stellate cells): a term that is
missing can be set by hand, one that is wrong goes unseen.

Source: labels of published data sets (Azimuth's references of blood, lung and pancreas; Zheng et al. 2017; Kang et al.
2018; Baron et al. 2016; Kumar et al. 2023 for breast), each checked against the ontology's definition of its term.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Literal

Tissue = Literal["blood", "pancreas", "brain"]
Words = tuple[str, ...]

LEAST_SIGNS = 3
"""Labels of a tissue that a run needs before short names are read as that tissue's."""

BLOOD_CELL, NEURAL_CELL = "CL:0000988", "CL:0002319"
"""The terms hematopoietic cell and neural cell, whose kinds are signs of blood and of brain."""

SPELLINGS: Mapping[str, tuple[str, str]] = {
    # T cells, innate lymphocytes
    "CL:0000084": ("T cell", "T, Tcell"),
    "CL:0000624": ("CD4-positive, alpha-beta T cell", "CD4 T, CD4T, Tcd4, CD4 Tcell, CD4 alpha beta T"),
    "CL:0000625": ("CD8-positive, alpha-beta T cell", "CD8 T, CD8T, Tcd8, CD8 Tcell, CD8 alpha beta T"),
    "CL:0000898": ("naive T cell", "naive T, T nve, naiveT"),
    "CL:0000895": (
        "naive thymus-derived CD4-positive, alpha-beta T cell",
        "CD4 naive, CD4 naive T, naive CD4 T helper, T 4nve",
    ),
    "CL:0000900": (
        "naive thymus-derived CD8-positive, alpha-beta T cell",
        "CD8 naive, CD8 naive T, naive cytotoxic, naive cytotoxic T, naivecytotoxic, T 8nve",
    ),
    "CL:0000813": ("memory T cell", "memory T, T mem, memoryT"),
    "CL:0000897": ("CD4-positive, alpha-beta memory T cell", "CD4 memory, CD4 memory T, CD4 Tmem"),
    "CL:0000909": ("CD8-positive, alpha-beta memory T cell", "CD8 memory, CD8 memory T, CD8 Tmem"),
    "CL:0000904": (
        "central memory CD4-positive, alpha-beta T cell",
        "CD4 Tcm, CD4 T cm, CD4 cm, CD4 central memory, CD4 central memory T",
    ),
    "CL:0000907": (
        "central memory CD8-positive, alpha-beta T cell",
        "CD8 Tcm, CD8 T cm, CD8 cm, CD8 central memory, CD8 central memory T",
    ),
    "CL:0000905": (
        "effector memory CD4-positive, alpha-beta T cell",
        "CD4 Tem, CD4 T em, CD4 em, CD4 effector memory, CD4 effector memory T",
    ),
    "CL:0000913": (
        "effector memory CD8-positive, alpha-beta T cell",
        "CD8 Tem, CD8 T em, CD8 em, CD8 effector memory, CD8 effector memory T",
    ),
    "CL:0000934": ("CD4-positive, alpha-beta cytotoxic T cell", "CD4 CTL, CD4 cytotoxic, CD4 cytotoxic T"),
    "CL:0000794": ("CD8-positive, alpha-beta cytotoxic T cell", "CD8 CTL, CD8 cytotoxic, CD8 cytotoxic T"),
    "CL:0000910": ("cytotoxic T cell", "CTL, cytotoxicT, T cytotoxic"),
    "CL:0000912": ("helper T cell", "T helper, Thelper, Th"),
    "CL:0000492": ("CD4-positive helper T cell", "CD4 T helper, CD4 Th"),
    "CL:0000815": ("regulatory T cell", "Treg, T reg, T regulatory, regulatoryT, Tregs"),
    "CL:0000792": (
        "CD4-positive, CD25-positive, alpha-beta regulatory T cell",
        "CD4 Treg, CD4 T reg, CD4 CD25 T reg, CD4 CD25 Treg",
    ),
    "CL:0000545": ("T-helper 1 cell", "Th1, T h1, CD4 Th1"),
    "CL:0000546": ("T-helper 2 cell", "Th2, T h2, CD4 Th2"),
    "CL:0000899": ("T-helper 17 cell", "Th17, T h17, CD4 Th17"),
    "CL:0002038": ("T follicular helper cell", "Tfh, T fh, CD4 Tfh"),
    "CL:0011025": ("exhausted T cell", "Tex, T ex"),
    "CL:0000940": ("mucosal-associated invariant T cell", "MAIT, T MAIT, MAIT T, mucosal associated invariant T"),
    "CL:0000798": ("gamma-delta T cell", "gdT, T gd, gd T, gammadelta T, Tgd, gamma delta T, T gamma delta"),
    "CL:0000789": ("alpha-beta T cell", "abT, ab T, T ab"),
    "CL:0000814": ("mature NK T cell", "NKT, T NK, NK T, natural killer T"),
    "CL:0000623": ("natural killer cell", "NK, natural killer, NKs"),
    "CL:0000938": (
        "CD16-negative, CD56-bright natural killer cell, human",
        "NK CD56bright, NK CD56 bright, CD56bright NK, NK CD56hi, NK CD56 hi",
    ),
    "CL:0000939": (
        "CD16-positive, CD56-dim natural killer cell, human",
        "NK CD56dim, NK CD56 dim, NK CD56lo, NK CD16 hi",
    ),
    "CL:0001065": ("innate lymphoid cell", "ILC, ILCs"),
    "CL:0001068": ("ILC1", "ILC 1"),
    "CL:0001069": ("group 2 innate lymphoid cell", "ILC2, ILC 2"),
    "CL:0001071": ("group 3 innate lymphoid cell", "ILC3, ILC 3"),
    # B cells
    "CL:0000236": ("B cell", "B, Bcell, B lymphocyte"),
    "CL:0000788": ("naive B cell", "B naive, Bnaive, B nve"),
    "CL:0000787": ("memory B cell", "B memory, Bmem, B mem"),
    "CL:0000816": ("immature B cell", "B immature, B imm"),
    "CL:0000818": ("transitional stage B cell", "B transitional, B trans"),
    "CL:0000826": ("pro-B cell", "pro B, proB, B pro"),
    "CL:0000817": ("precursor B cell", "pre B, preB, B pre"),
    "CL:0000844": ("germinal center B cell", "B GC, B germinal center, GC B, B germinal centre, germinal centre B"),
    "CL:0000843": ("follicular B cell", "B follicular, B Fo, B FO"),
    "CL:0000845": ("marginal zone B cell of spleen", "B MZ, MZ B, B marginal zone"),
    "CL:0000786": ("plasma cell", "plasma, B plasma, plasma B"),
    "CL:0000980": ("plasmablast", "B plasmablast, plasma blast"),
    # Myeloid cells
    "CL:0000576": ("monocyte", "Mono, Monos, Monocyte"),
    "CL:0001054": ("CD14-positive monocyte", "CD14 Mono"),
    "CL:0002396": ("CD14-low, CD16-positive monocyte", "CD16 Mono, FCGR3A Mono"),
    "CL:0000860": ("classical monocyte", "cMono, Mono c, Mono classical, cMo, Mono cl"),
    "CL:0000875": (
        "non-classical monocyte",
        "ncMono, Mono nc, Mono non classical, nonclassical Mono, ncMo, non classical Mono",
    ),
    "CL:0002393": ("intermediate monocyte", "Mono intermediate, intMono, Mono int"),
    "CL:0000235": ("macrophage", "Mac, Macs, Macro, Mph, Mphi"),
    "CL:0000583": ("alveolar macrophage", "alveolar Mac, alveolar Mph, Mac alveolar, AlvMac"),
    "CL:0000451": ("dendritic cell", "DC, DCs, dendritic"),
    "CL:0000990": ("conventional dendritic cell", "cDC, cDCs, DC conventional, conventional DC, conv DC"),
    "CL:0002394": ("CD141-positive myeloid dendritic cell", "cDC1, DC c1, cDC 1, DC CD141, CLEC9A DC"),
    "CL:0002399": ("CD1c-positive myeloid dendritic cell", "cDC2, DC c2, cDC 2, DC CD1C, CD1C DC"),
    "CL:0000784": ("plasmacytoid dendritic cell", "pDC, pDCs, DC p, plasmacytoid DC, plasmacytoid"),
    "CL:0000782": ("myeloid dendritic cell", "mDC, myeloid DC, DC m, DC myeloid"),
    "CL:0011031": ("monocyte-derived dendritic cell", "moDC, monocyte derived DC"),
    "CL:0017009": ("Axl+ dendritic cell, human", "ASDC, AS DC"),
    "CL:0000775": ("neutrophil", "Neut, Neutro, Neutros, Neuts"),
    "CL:0000771": ("eosinophil", "Eos, Eosino"),
    "CL:0000767": ("basophil", "Baso"),
    "CL:0000097": ("mast cell", "mast"),
    "CL:0000094": ("granulocyte", "Gran, Grans"),
    # Progenitors, red cells, platelets
    "CL:0008001": ("hematopoietic precursor cell", "HSPC, HSPCs, HSC MPP"),
    "CL:0000037": ("hematopoietic stem cell", "haematopoietic stem"),
    "CL:0000837": ("hematopoietic multipotent progenitor cell", "MPP, MPPs"),
    "CL:0000049": ("common myeloid progenitor", "CMP, CMPs"),
    "CL:0000051": ("common lymphoid progenitor", "CLP, CLPs"),
    "CL:0000557": ("granulocyte monocyte progenitor cell", "GMP, GMPs"),
    "CL:0000050": ("megakaryocyte-erythroid progenitor cell", "MEP, MEPs"),
    "CL:0001029": ("common dendritic progenitor", "CDP, CDPs"),
    "CL:0000764": ("erythroid lineage cell", "Eryth, Ery, erythroid, Erythro"),
    "CL:0000232": ("erythrocyte", "RBC, RBCs, red blood"),
    "CL:0000233": ("platelet", "Plt, Plts"),
    "CL:0000556": ("megakaryocyte", "Mega, Megas, Mgk, Megak"),
    # Stroma and epithelium
    "CL:0000115": ("endothelial cell", "Endo, Endoth, endothelium, vascular Endo"),
    "CL:0002138": (
        "endothelial cell of lymphatic vessel",
        "LEC, LECs, lymphatic EC, lymphatic Endo",
    ),
    "CL:0000057": ("fibroblast", "Fib, Fibro, Fibs"),
    "CL:0000192": ("smooth muscle cell", "SMC, SMCs, smooth muscle"),
    "CL:0000359": ("vascular associated smooth muscle cell", "VSMC, VSMCs, vascular smooth muscle, vascular SMC"),
    "CL:0000669": ("pericyte", "Peri"),
    "CL:0000136": ("adipocyte", "Adipo, fat"),
    "CL:0000066": ("epithelial cell", "epithelium"),
    "CL:0000746": ("cardiac muscle cell", "cardiomyocyte, cardiac muscle"),
    "CL:0002062": ("pulmonary alveolar type 1 cell", "AT1, ATI, AT 1, AT I, AEC1, alveolar type 1, alveolar type I"),
    "CL:0002063": ("pulmonary alveolar type 2 cell", "AT2, ATII, AT 2, AT II, AEC2, alveolar type 2, alveolar type II"),
    "CL:0002326": (
        "luminal epithelial cell of mammary gland",
        "LumHR, LumSec, luminal HR, luminal HS, luminal AV, luminal secretory, luminal hormone responsive",
    ),
    "CL:0002324": ("basal-myoepithelial cell of mammary gland", "basal myoepithelial, myoepithelial basal"),
    "CL:0002306": ("epithelial cell of proximal tubule", "proximal tubule, proximal tubular"),
    # Nervous system
    "CL:0000127": ("astrocyte", "Astro, Astros"),
    "CL:0000128": ("oligodendrocyte", "Oligo, Oligos, ODC"),
    "CL:0002453": ("oligodendrocyte precursor cell", "OPC, OPCs, Oligo precursor"),
    "CL:0000129": ("microglial cell", "microglia"),
    "CL:4023018": ("pvalb GABAergic interneuron", "Pvalb"),
    "CL:4023017": ("sst GABAergic interneuron", "SST"),
    "CL:4023016": ("VIP GABAergic interneuron", "VIP"),
    "CL:4023011": ("lamp5 GABAergic interneuron", "Lamp5"),
    "CL:4023015": ("sncg GABAergic interneuron", "Sncg"),
    # Pancreas, where the name says so
    "CL:0000169": ("type B pancreatic cell", "pancreatic beta, beta pancreatic, islet beta"),
    "CL:0000171": ("pancreatic A cell", "pancreatic alpha, islet alpha"),
    "CL:0000173": ("pancreatic D cell", "pancreatic delta, islet delta"),
    "CL:0002275": ("pancreatic PP cell", "pancreatic PP, pancreatic gamma, PP gamma, islet PP"),
    "CL:0005019": ("pancreatic epsilon cell", "pancreatic epsilon, islet epsilon"),
    "CL:0002064": ("pancreatic acinar cell", "pancreatic acinar"),
    "CL:0002079": ("pancreatic ductal cell", "pancreatic duct, pancreatic ductal"),
    "CL:0002410": ("pancreatic stellate cell", "pancreatic stellate"),
}
"""By id: the term's name, and spellings that mean it in any tissue."""

IN_TISSUE: Mapping[Tissue, Mapping[str, tuple[str, str]]] = {
    "blood": {
        "CL:0000037": ("hematopoietic stem cell", "HSC, HSCs"),
        "CL:0000624": ("CD4-positive, alpha-beta T cell", "CD4"),
        "CL:0000625": ("CD8-positive, alpha-beta T cell", "CD8"),
        "CL:0000556": ("megakaryocyte", "MK, MKs"),
    },
    "pancreas": {
        "CL:0000169": ("type B pancreatic cell", "beta"),
        "CL:0000171": ("pancreatic A cell", "alpha"),
        "CL:0000173": ("pancreatic D cell", "delta"),
        "CL:0002275": ("pancreatic PP cell", "gamma, PP"),
        "CL:0005019": ("pancreatic epsilon cell", "epsilon"),
        "CL:0002064": ("pancreatic acinar cell", "acinar"),
        "CL:0002079": ("pancreatic ductal cell", "duct, ductal"),
        "CL:0002410": ("pancreatic stellate cell", "stellate"),
    },
    "brain": {
        "CL:0000129": ("microglial cell", "Micro, MG"),
        "CL:0000679": ("glutamatergic neuron", "Ex, Exc, ExN, excitatory, excitatory neuron, Glut"),
        "CL:0000617": ("GABAergic neuron", "In, Inh, InN, inhibitory, inhibitory neuron, Gaba"),
        "CL:4023018": ("pvalb GABAergic interneuron", "PV"),
        "CL:4032001": ("reelin GABAergic cortical interneuron", "Reln"),
    },
}
"""Spellings that count only among other labels of a tissue: in the liver an HSC is a hepatic stellate cell."""

UNCLEAR = "DC1, DC2, mature DC, EC, CM"
"""Spellings that people use for different cells, so that not even a synonym of the ontology counts: it calls the
conventional dendritic cell DC1 and the plasmacytoid one DC2, others the two kinds of conventional ones."""

UNLIKE: Mapping[Tissue, frozenset[Words]] = {"pancreas": frozenset({("endo",)})}
"""Words that mean nothing clear among labels of a tissue: ``endo`` may be endocrine there."""

_SAME = {
    **{"monocyte": "mono", "macrophage": "mac", "dendritic": "dc", "memory": "mem", "naïve": "naive"},
    **{"fcgr3a": "cd16", "neg": "negative", "endothelial": "endo"},
}
_GREEK = str.maketrans({"α": " alpha ", "β": " beta ", "γ": " gamma ", "δ": " delta ", "ε": " epsilon "})
_NEGATIVE = re.compile(r"(?<=\w)[-\u2212](?=[\s_+]|$|cd\d)")  # as in CD14- Mono, but not in B-cell
_SIGN = re.compile(r"(?<=\d)(pos|neg)\b")
_SILENT = {"cell", "positive", "pos"}


def words_of(label: str) -> Words:
    """The words of a label that say which cell it is, in alphabetical order.

    Without case, punctuation, plural, ``cell`` and ``positive``; ``CD4+ T cells``, ``T_CD4`` and ``CD4-T`` have the
    same words. A minus after a marker counts as the word ``negative``.
    """
    plain = _SIGN.sub(r" \1", _NEGATIVE.sub(" negative ", label.casefold().translate(_GREEK)))
    singles = (singular(word) for word in re.split(r"[\W_]+", plain) if word)
    return tuple(sorted(_SAME.get(word, word) for word in singles if word not in _SILENT))


def singular(word: str) -> str:
    """A word without its plural's s; short words and those in -ss, -us and -is stay as they are."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "sui" and word.isalpha() else word


@cache
def _by_words(tissue: Tissue | None = None) -> Mapping[Words, str]:
    """Ids by the words of their spellings: of any tissue, or of one alone."""
    table = SPELLINGS if tissue is None else IN_TISSUE[tissue]
    return {words_of(text): term for term, (_, texts) in table.items() for text in texts.split(", ")}


@cache
def _unclear() -> frozenset[Words]:
    return frozenset(words_of(text) for text in UNCLEAR.split(", "))


def is_unclear(label: str) -> bool:
    """Whether a label is written for different cells, so that no guess should be made."""
    return words_of(label) in _unclear()


def tissues_of(labels: Iterable[str], families: Collection[Collection[str]]) -> set[Tissue]:
    """Tissues that the labels of a run are of: those with ``LEAST_SIGNS`` labels of their own.

    Blood is meant where no other cell occurs: immune cells are in all tissues.

    Parameters
    ----------
    labels
        All labels of the run.
    families
        For each label that is clear in any tissue: the ids of its term and of all that this is a kind of.
    """
    spelled = {words_of(label) for label in labels}
    of_blood, of_brain = (sum(root in family for family in families) for root in (BLOOD_CELL, NEURAL_CELL))
    counts: dict[Tissue, int] = {
        "blood": of_blood if of_blood == len(families) else 0,
        "pancreas": len(spelled & set(_by_words("pancreas"))),
        "brain": of_brain,
    }
    return {tissue for tissue, n in counts.items() if n >= LEAST_SIGNS}


def spelled_id(label: str, tissues: Iterable[Tissue] = ()) -> str:
    """Id of the term that a label abbreviates, empty where none is known; ``tissues`` are those of its run."""
    words = words_of(label)
    for tissue in sorted(tissues):
        if words in UNLIKE.get(tissue, ()):
            return ""
        if words in _by_words(tissue):
            return _by_words(tissue)[words]
    return _by_words().get(words, "")
