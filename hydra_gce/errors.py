"""Every error that a person can meet, in one tree.

HydraGCEError
├── ConfigError            what was asked for is wrong or contradictory; nothing was started
│   └── UnknownName        there is no sweep, job or file of that name
├── CredentialsError       no credentials, no project, or not allowed
├── CodeTooLarge           the snapshot of the code passes its limit
├── NotPicklable           the task function cannot travel
├── EnvironmentUnsolvable  no set of Python packages meets the requirements
├── SweepDirBusy           another launch is at work in this sweep directory
├── NoPlace                no zone could give a VM
├── CollectError           results are safe in the bucket but could not be written here
├── LocalEngineError       the embedded Compute Engine did not start or answer
├── Unreachable            Google Cloud does not answer; nothing is wrong with what was asked
│   └── CredentialsExpired it lets nobody in with these credentials until somebody logs in anew
├── BucketError
│   ├── ObjectMissing      an object that should be there is not
│   ├── GenerationMismatch somebody else wrote it first
│   ├── Damaged            what arrived is not what lies in the bucket
│   └── SealBroken         a wrong signature: nothing of it was opened
└── JobFailed              a job ended without a return value: raised, died, or was lost
"""

from __future__ import annotations


class HydraGCEError(Exception):
    """The message says what happened, to what, and what to do."""


class ConfigError(HydraGCEError):
    pass


class UnknownName(ConfigError):
    pass


class CredentialsError(HydraGCEError):
    pass


class CodeTooLarge(HydraGCEError):
    pass


class NotPicklable(HydraGCEError):
    pass


class EnvironmentUnsolvable(HydraGCEError):
    pass


class SweepDirBusy(HydraGCEError):
    pass


class NoPlace(HydraGCEError):
    pass


class CollectError(HydraGCEError):
    pass


class LocalEngineError(HydraGCEError):
    pass


class Unreachable(HydraGCEError):
    pass


class CredentialsExpired(Unreachable):
    @classmethod
    def of(cls, error: Exception) -> CredentialsExpired:
        """With what Google says, and what to do."""
        said = (str(error).splitlines() or [type(error).__name__])[0]
        return cls(
            f"Google Cloud does not accept the credentials of this machine ({said})."
            " Run: gcloud auth application-default login"
        )


class BucketError(HydraGCEError):
    pass


class ObjectMissing(BucketError):
    pass


class GenerationMismatch(BucketError):
    pass


class Damaged(BucketError):
    pass


class SealBroken(BucketError):
    pass


class JobFailed(HydraGCEError):
    """Stands in Hydra's results for the exception of a job that left none."""
