//! Features of dependencies that only tests enable. See the manifest of this package.
