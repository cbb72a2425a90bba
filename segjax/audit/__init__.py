"""Everything that is wrong with datasets: faulty files, copies, classes and their weights."""
