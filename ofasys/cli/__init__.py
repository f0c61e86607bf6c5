"""The command line: `ofasys explain`, `train`, `evaluate`, `infer`, `tasks`, `demo`, `doctor`."""
