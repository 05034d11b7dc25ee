"""Stand-in for the module SampleData: it records the registered data sets, and downloads nothing."""

import types

import slicer


class SampleDataSource:
    """One registered data set; the fields are Slicer's."""

    def __init__(
        self,
        sampleName=None,
        sampleDescription=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        checksums=None,
        loadFiles=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFileProperties=None,
    ):
        several = isinstance(uris, (list, tuple))
        count = len(uris) if several else 1
        listed = lambda value: value if isinstance(value, (list, tuple)) else [value] * count  # noqa: E731
        self.sampleName = sampleName
        self.sampleDescription = sampleDescription or sampleName
        self.uris, self.fileNames, self.nodeNames = listed(uris), listed(fileNames), listed(nodeNames)
        self.checksums, self.loadFiles, self.loadFileTypes = listed(checksums), listed(loadFiles), listed(loadFileTypes)
        self.customDownloader = customDownloader
        self.thumbnailFileName = thumbnailFileName
        self.loadFileProperties = loadFileProperties or {}
        lists = (self.uris, self.fileNames, self.nodeNames, self.checksums, self.loadFiles, self.loadFileTypes)
        if len({len(item) for item in lists}) > 1:
            raise ValueError("all fields of sample data must have the same length")

    def __eq__(self, other):
        return vars(self) == vars(other)

    __hash__ = None


class SampleDataLogic:
    """Registers data sets; a data set with a custom downloader can be had."""

    @staticmethod
    def registerCustomSampleDataSource(category="Custom", sampleName=None, **fields):
        if "loadFileType" in fields:
            fields["loadFileTypes"] = fields.pop("loadFileType")
        source = SampleDataSource(sampleName=sampleName, **fields)
        sources = slicer.modules.sampleDataSources.setdefault(category, [])
        if source not in sources:
            sources.append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category=None):
        sources = slicer.modules.sampleDataSources
        return sources if category is None else sources.get(category, [])

    def __init__(self, logMessage=None):
        self.logMessage = logMessage or (lambda message, level=None: None)

    def sourceForSampleName(self, sampleName):
        everything = [source for sources in slicer.modules.sampleDataSources.values() for source in sources]
        return next((source for source in everything if source.sampleName == sampleName), None)

    def downloadFromSource(self, source):
        if source.customDownloader is None:
            raise RuntimeError("the test host downloads nothing")
        return source.customDownloader(source)

    def downloadSamples(self, sampleName):
        return self.downloadFromSource(self.sourceForSampleName(sampleName))

    def downloadSample(self, sampleName):
        nodes = self.downloadSamples(sampleName)
        return nodes[0] if isinstance(nodes, (list, tuple)) else nodes


def makeModule():
    """The module `SampleData`."""
    slicer.modules.sampleDataSources = {}
    module = types.ModuleType("SampleData")
    module.SampleDataLogic, module.SampleDataSource = SampleDataLogic, SampleDataSource
    module.downloadSample = lambda name: SampleDataLogic().downloadSample(name)
    return module
