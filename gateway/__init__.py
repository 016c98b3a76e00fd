"""The edge process: polls meters, runs barriers, keeps everything safe until the cloud has it."""
