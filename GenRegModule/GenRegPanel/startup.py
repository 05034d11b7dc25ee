"""What the module does when Slicer has started: it registers two sample pairs, and keeps loaded fields linear.

The pairs are from Slicer's public sample data. Nothing is downloaded here: the module SampleData downloads a pair when
the user clicks on it, and stores the files in Slicer's cache.
"""

from slicer.i18n import tr as _

__all__ = ["KEEPER", "keepFieldsLinear", "registerSampleData"]

KEEPER = "genRegLinearKeeper"
"""Attribute of slicer.modules that holds the application's one `LinearKeeper`, also after a reload of the module."""

SAMPLE_CATEGORY = "GenReg"
DOWNLOAD_ADDRESS = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"

SAMPLE_PAIRS = (
    # The same patient and sequence at two times: the pair of the tutorial.
    {
        "sampleName": "GenRegBrainTumor",
        "files": (
            ("RegLib_C01_1.nrrd", "MRBrainTumor1", "998cb522173839c78657f4bc0ea907cea09fd04e44601f17c82ea27927937b95"),
            ("RegLib_C01_2.nrrd", "MRBrainTumor2", "1a64f3f422eb3d1c9b093d1a18da354b13bcf307907c66317e2463ee530b7a97"),
        ),
    },
    # The same head in two modalities.
    {
        "sampleName": "GenRegBrainCTMR",
        "files": (
            ("CT-brain.nrrd", "CTBrain", "6a5b6caccb76576a863beb095e3bfb910c50ca78f4c9bf043aa42f976cfa53d1"),
            ("MR-brain-T1.nrrd", "MRBrainT1", "2da3f655ed20356ee8cdf32aa0f8f9420385de4b6e407d28e67f9974d7ce1593"),
        ),
    },
)
"""For each pair: file name, node name and SHA-256 of the fixed and of the moving volume."""


def registerSampleData():
    """Add the pairs to the Sample Data module; further calls have no effect."""
    import SampleData

    # Slicer 5.12 and later show the title of a category, earlier versions its name.
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
    """Set GenReg's fields to linear interpolation when they are loaded from files, from now on until the application
    ends, whether or not the module is opened."""
    import slicer

    from .bootstrap import makeEngineImportable

    makeEngineImportable()
    from GenRegLogic.mrml.nodes.keeplinear import LinearKeeper

    if not hasattr(slicer.modules, KEEPER):
        setattr(slicer.modules, KEEPER, LinearKeeper(slicer.mrmlScene))
