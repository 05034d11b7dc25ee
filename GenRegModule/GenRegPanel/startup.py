"""What the module does when Slicer has started: it registers two sample pairs, and keeps loaded fields linear.

The pairs are from Slicer's own public sample sets. Nothing is downloaded here: SampleData does so when the user clicks
on a pair, and keeps the files in Slicer's cache.
"""

from slicer.i18n import tr as _

__all__ = ["KEEPER", "keepFieldsLinear", "registerSampleData"]

KEEPER = "genRegLinearKeeper"
"""Attribute of slicer.modules: one for the application, which a reload of the module leaves in place."""

SAMPLE_CATEGORY = "GenReg"
DOWNLOAD_ADDRESS = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"

SAMPLE_PAIRS = (
    # The same patient at two times, the same kind of scan: the tutorial's pair.
    {
        "sampleName": "GenRegBrainTumor",
        "files": (
            ("RegLib_C01_1.nrrd", "MRBrainTumor1", "998cb522173839c78657f4bc0ea907cea09fd04e44601f17c82ea27927937b95"),
            ("RegLib_C01_2.nrrd", "MRBrainTumor2", "1a64f3f422eb3d1c9b093d1a18da354b13bcf307907c66317e2463ee530b7a97"),
        ),
    },
    # One head in two modalities.
    {
        "sampleName": "GenRegBrainCTMR",
        "files": (
            ("CT-brain.nrrd", "CTBrain", "6a5b6caccb76576a863beb095e3bfb910c50ca78f4c9bf043aa42f976cfa53d1"),
            ("MR-brain-T1.nrrd", "MRBrainT1", "2da3f655ed20356ee8cdf32aa0f8f9420385de4b6e407d28e67f9974d7ce1593"),
        ),
    },
)
"""For each pair: the file's name, the name in the scene and the SHA-256 of the fixed and of the moving volume."""


def registerSampleData():
    """Add the pairs to the Sample Data module. Called again, it changes nothing."""
    import SampleData

    # The title of a category is known to Slicer 5.12 and later; before, the category's name is shown.
    if hasattr(SampleData.SampleDataLogic, "registerCustomSampleDataCategory"):
        title = _("General Registration (GenReg)")
        SampleData.SampleDataLogic.registerCustomSampleDataCategory(SAMPLE_CATEGORY, title=title)
    for pair in SAMPLE_PAIRS:
        fileNames, nodeNames, digests = (list(column) for column in zip(*pair["files"]))
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=SAMPLE_CATEGORY,
            sampleName=pair["sampleName"],
            uris=[DOWNLOAD_ADDRESS + digest for digest in digests],
            fileNames=fileNames,
            nodeNames=nodeNames,
            checksums=[f"SHA256:{digest}" for digest in digests],
        )


def keepFieldsLinear():
    """Keep GenReg's fields linear when they are loaded from files, from now to the end of the application, whether or
    not the module is opened."""
    import slicer

    from .bootstrap import makeEngineImportable

    makeEngineImportable()
    from GenRegLogic.mrml.nodes.keeplinear import LinearKeeper

    if not hasattr(slicer.modules, KEEPER):
        setattr(slicer.modules, KEEPER, LinearKeeper(slicer.mrmlScene))
