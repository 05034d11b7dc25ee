"""Stand-in for slicer.app.coreIOManager(): reads and writes nodes and scenes with MRML's storage nodes."""

import os

import slicer

# extension: (class of the node, class of its storage node); the first that fits a file's name is taken
READERS = {
    "TransformFile": ("vtkMRMLTransformNode", "vtkMRMLTransformStorageNode", (".h5", ".tfm", ".mat", ".txt")),
    "SegmentationFile": ("vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode", (".seg.nrrd", ".seg.vtm")),
    "MarkupsFile": ("vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsJsonStorageNode", (".mrk.json",)),
    "VolumeFile": (
        "vtkMRMLScalarVolumeNode",
        "vtkMRMLVolumeArchetypeStorageNode",
        (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd"),
    ),
    "SceneFile": (None, None, (".mrb", ".mrml")),
}


class CoreIOManager:
    """The methods that slicer.util's load and save functions call."""

    def fileType(self, fileName):
        lower = str(fileName).lower()
        return next((kind for kind, entry in READERS.items() if lower.endswith(entry[2])), "NoFile")

    def fileWriterFileType(self, node, preferred=""):
        return next((kind for kind, entry in READERS.items() if entry[0] and node.IsA(entry[0])), "NodeFile")

    def loadNodes(self, fileType, properties, loaded=None, messages=None):
        path = properties["fileName"]
        if fileType == "SceneFile":
            return _loadScene(path, properties.get("clear", True), messages)
        if fileType not in READERS or not os.path.isfile(path):
            return False
        nodeClass, storageClass, extensions = READERS[fileType]
        if fileType == "VolumeFile" and properties.get("labelmap"):
            nodeClass = "vtkMRMLLabelMapVolumeNode"
        stem = os.path.basename(path)
        name = next((stem[: -len(e)] for e in extensions if stem.lower().endswith(e)), os.path.splitext(stem)[0])
        scene = slicer.mrmlScene
        node = scene.AddNewNodeByClass(nodeClass, scene.GenerateUniqueName(properties.get("name", name)))
        storage = scene.AddNewNodeByClass(storageClass)
        storage.SetFileName(path)
        node.SetAndObserveStorageNodeID(storage.GetID())
        if not storage.ReadData(node):
            scene.RemoveNode(storage)
            scene.RemoveNode(node)
            return False
        node.CreateDefaultDisplayNodes()
        if loaded is not None:
            loaded.AddItem(node)
        return True

    def saveNodes(self, fileType, properties, messages=None):
        path = properties["fileName"]
        if fileType == "SceneFile":
            return _saveScene(path, messages)
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        if "useCompression" in properties:
            storage.SetUseCompression(int(properties["useCompression"]))
        return bool(storage.WriteData(node))

    def extractKnownExtension(self, fileName, node):
        lower = fileName.lower()
        return next(
            (e for entry in READERS.values() for e in entry[2] if lower.endswith(e)), os.path.splitext(lower)[1]
        )


def _saveScene(path, messages):
    scene = slicer.mrmlScene
    if path.endswith(".mrml"):
        scene.SetURL(path)
        return bool(scene.Commit())
    if path.endswith(".mrb"):
        return bool(scene.WriteToMRB(path, None, messages))
    return bool(scene.SaveSceneToSlicerDataBundleDirectory(path, None, messages))


def _loadScene(path, clear, messages):
    scene = slicer.mrmlScene
    if path.endswith(".mrb"):
        return bool(scene.ReadFromMRB(path, clear, messages))
    scene.SetURL(path)
    return bool(scene.Connect(messages) if clear else scene.Import(messages))
