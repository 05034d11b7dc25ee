"""The DICOM attributes that are read from headers, by the keywords of the standard."""

from __future__ import annotations

__all__ = ["GROUPS", "KEYWORDS", "TELLING", "UNITS"]

GROUPS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "FrameContentSequence",
    "MREchoSequence",
    "MRDiffusionSequence",
    "DiffusionGradientDirectionSequence",
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "PETFrameTypeSequence",
    "CardiacSynchronizationSequence",
    "RespiratorySynchronizationSequence",
    "MRTimingAndRelatedParametersSequence",
    "MRModifierSequence",
    "TemporalPositionSequence",
    "CTXRayDetailsSequence",
    "CTReconstructionSequence",
    "RealWorldValueMappingSequence",
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)
"""The functional groups of enhanced files in which attributes of a frame are looked for."""

TELLING = {
    "echo time": ("EffectiveEchoTime", "EchoTime"),
    "echo": ("EchoNumbers",),
    "time point": ("TemporalPositionIndex", "TemporalPositionIdentifier", "TemporalPositionTimeOffset"),
    "cardiac phase": ("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime"),
    "trigger time": ("TriggerTime",),
    "respiratory phase": ("NominalPercentageOfRespiratoryPhase",),
    "b-value": ("DiffusionBValue", 0x0019100C, 0x00431039, 0x20011003),
    "gradient direction": ("DiffusionGradientOrientation",),
    "inversion time": ("InversionTimes", "InversionTime"),
    "component": ("ComplexImageComponent",),
    "image type": ("FrameType", "ImageType"),
    "flip angle": ("FlipAngle",),
    "tube voltage": ("KVP",),
    "kernel": ("ConvolutionKernel",),
    "contrast agent": ("ContrastBolusAgent",),
    "frame time": ("FrameReferenceTime",),
    "acquisition": ("AcquisitionNumber",),
    "acquisition time": ("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime"),
    "content time": ("ContentTime",),
    "stack": ("StackID",),
    "dose": ("DoseSummationType",),
}
"""What may tell images at one position apart, in the order in which it is tried, and the attributes that say it."""

UNITS = {"echo time": " ms", "trigger time": " ms", "b-value": " s/mm²", "inversion time": " ms", "flip angle": "°"}

KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "PatientName",
    "PatientID",
    "InstanceNumber",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "NumberOfSlices",
    "DetectorInformationSequence",
    "GridFrameOffsetVector",
    "DoseGridScaling",
    "DoseUnits",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
