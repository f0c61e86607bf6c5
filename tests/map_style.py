"""A data set of the map style, as torch has it."""


class MapStyle:
    """Rows by number; their columns are not at hand."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]
