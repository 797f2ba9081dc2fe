//! Docker Engine REST: routes, lowering wire to model, raising model to wire, version quirks.
