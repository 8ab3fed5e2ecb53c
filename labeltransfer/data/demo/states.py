"""The cell states, marker genes and labels of the simulated marrow."""

from dataclasses import dataclass

HOUSEKEEPING = "Actb B2m Eef1a1 Gapdh Malat1 Ptprc Rpl13 Rpl41 Rplp0 Rps27 Rps29 Tmsb4x Tpt1 mt-Co1 mt-Nd1"

SEX_GENES = {"female": "Xist Tsix", "male": "Ddx3y Eif2s3y Kdm5d Uty"}

PROGRAMMES = {
    "T": "Cd3d Cd3e Cd3g Trac Trbc2 Lck Cd5 Bcl11b",
    "CD4": "Cd4 Cd40lg Tnfrsf4 Icos",
    "CD8": "Cd8a Cd8b1 Dapl1 Ccr9",
    "cytotoxic": "Klrd1 Klrk1 Nkg7 Ccl5 Ctsw Il2rb",
    "NK": "Ncr1 Klrb1c Klra4 Gzma Prf1 Tyrobp",
    "B": "Cd79a Cd79b Cd19 Pax5 Ebf1 Vpreb3 Ighm",
    "pro-B": "Vpreb1 Igll1 Rag1 Rag2 Dntt Blnk",
    "mature B": "Ms4a1 Cd74 H2-Aa H2-Ab1 Cd22 Cd37",
    "naive B": "Ighd Fcer2a Fcmr Sell Ltb Cr2 H2-Ob Ccr7",
    "plasma": "Jchain Sdc1 Xbp1 Mzb1 Iglv1 Igkc Tnfrsf17",
    "cycling": "Mki67 Top2a Cdk1 Birc5 Pcna Tubb5 Stmn1 Hmgb2",
    "stem": "Cd34 Kit Ly6a Procr Hlf Mecom Mpl Meis1",
    "lymphoid": "Flt3 Il7r Notch1 Satb1 Ccr9 Dntt",
    "azurophil": "Mpo Elane Prtn3 Ctsg Ms4a3 Cebpe",
    "specific granule": "Ltf Camp Ngp Lcn2 Fcnb Chil3 Cd177",
    "granulocyte": "S100a8 S100a9 Ly6g Retnlg Mmp8 Mmp9 Cxcr2 Csf3r",
    "monocyte": "Ly6c2 Csf1r Irf8 F13a1 Ccr2 Lyz2 Ms4a6c",
    "patrolling": "Cx3cr1 Nr4a1 Ace Treml4 Cd300e",
    "macrophage": "C1qa C1qb C1qc Vcam1 Mrc1 Adgre1 Cd5l Hmox1",
    "basophil": "Cpa3 Mcpt8 Prss34 Fcer1a Ms4a2 Gata2 Cd200r3",
    "megakaryocyte": "Pf4 Itga2b Gp1bb Gata2 Mpl Car1",
    "erythroid": "Gata1 Klf1 Epor Tfrc Car1 Car2 Ermap",
    "haemoglobin": "Hba-a1 Hba-a2 Hbb-bs Hbb-bt Alas2 Gypa Slc4a1 Bpgm",
}
"""Marker genes by the name of the programme that expresses them."""


@dataclass(frozen=True)
class State:
    """A cell state: what it expresses, how each side calls it and what share of each side it takes.

    A share of 0 means that the side does not have the state; ``sister`` is the state that it shades into.
    """

    name: str
    programmes: tuple[str, ...]
    sister: str
    reference_label: str
    reference_share: float
    query_label: str
    query_share: float
    in_spleen: bool = False


PRECURSOR = "hematopoietic precursor cell"

STATES = (
    State("CD4 T", ("T", "CD4"), "CD8 T", "CD4-positive, alpha-beta T cell", 4, "T cell", 2, True),
    State("CD8 T", ("T", "CD8"), "CD4 T", "mature alpha-beta T cell", 5, "T cell", 3, True),
    State("NK", ("cytotoxic", "NK"), "CD8 T", "NK cell", 4.5, "NK cell", 2.5, True),
    State("early pro-B", ("B", "pro-B", "lymphoid"), "late pro-B", "early pro-B cell", 2, "early pro-B cell", 2),
    State("late pro-B", ("B", "pro-B", "cycling"), "precursor B", "late pro-B cell", 5, "late pro-B cell", 6),
    State("precursor B", ("B", "pro-B"), "immature B", "precursor B cell", 9, "precursor B cell", 6),
    State("immature B", ("B", "mature B"), "naive B", "immature B cell", 8, "immature B cell", 6, True),
    State("naive B", ("B", "mature B", "naive B"), "immature B", "naive B cell", 14, "naive B cell", 10, True),
    State("plasma", ("plasma",), "naive B", "plasma cell", 0, "plasma cell", 1.5, True),
    State("lymphoid progenitor", ("stem", "lymphoid"), "HSC", "lymphoid progenitor cell", 1.5, PRECURSOR, 1),
    State("HSC", ("stem",), "lymphoid progenitor", "hematopoietic stem cell", 13, PRECURSOR, 6),
    State(
        "GMP",
        ("stem", "azurophil", "cycling"),
        "granulocytopoietic",
        "granulocyte monocyte progenitor cell",
        3,
        "granulocyte monocyte progenitor cell",
        4,
    ),
    State(
        "granulocytopoietic",
        ("azurophil", "specific granule", "cycling"),
        "granulocyte",
        "granulocytopoietic cell",
        4,
        "granulocytopoietic cell",
        8,
    ),
    State(
        "granulocyte",
        ("specific granule", "granulocyte"),
        "granulocytopoietic",
        "granulocyte",
        13,
        "granulocyte",
        18,
        True,
    ),
    State("promonocyte", ("monocyte", "azurophil", "cycling"), "monocyte", "promonocyte", 7, "promonocyte", 6),
    State("monocyte", ("monocyte", "patrolling"), "promonocyte", "monocyte", 0, "monocyte", 5, True),
    State("macrophage", ("monocyte", "macrophage"), "monocyte", "macrophage", 4, "macrophage", 4, True),
    State("basophil", ("basophil",), "GMP", "basophil", 1.5, "basophil", 1.5),
    State(
        "MEP",
        ("stem", "megakaryocyte", "erythroid"),
        "proerythroblast",
        "megakaryocyte-erythroid progenitor cell",
        1.5,
        "megakaryocyte-erythroid progenitor cell",
        1.5,
    ),
    State("proerythroblast", ("erythroid", "cycling"), "erythroblast", "proerythroblast", 0, "proerythroblast", 3),
    State("erythroblast", ("erythroid", "haemoglobin"), "proerythroblast", "erythroblast", 0, "erythroblast", 3, True),
    State(
        "megakaryocyte",
        ("megakaryocyte",),
        "MEP",
        "megakaryocyte",
        1,
        "megakaryocyte",
        0,
    ),
)

CELL_ONTOLOGY = {
    "CD4-positive, alpha-beta T cell": "CL:0000624",
    "mature alpha-beta T cell": "CL:0000791",
    "T cell": "CL:0000084",
    "NK cell": "CL:0000623",
    "early pro-B cell": "CL:0002046",
    "late pro-B cell": "CL:0002048",
    "precursor B cell": "CL:0000817",
    "immature B cell": "CL:0000816",
    "naive B cell": "CL:0000788",
    "plasma cell": "CL:0000786",
    "lymphoid progenitor cell": "CL:0000838",
    "hematopoietic stem cell": "CL:0000037",
    "hematopoietic precursor cell": "CL:0008001",
    "granulocyte monocyte progenitor cell": "CL:0000557",
    "granulocytopoietic cell": "CL:0002191",
    "granulocyte": "CL:0000094",
    "promonocyte": "CL:0000559",
    "monocyte": "CL:0000576",
    "macrophage": "CL:0000235",
    "basophil": "CL:0000767",
    "megakaryocyte-erythroid progenitor cell": "CL:0000050",
    "megakaryocyte": "CL:0000556",
    "proerythroblast": "CL:0000547",
    "erythroblast": "CL:0000765",
}
"""Cell Ontology id by label."""
