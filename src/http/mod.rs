//! The HTTP server: what providers, partners and staff call. Thin: parse, call the engine, render.
