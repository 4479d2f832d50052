package doctor

// Unavailable is why a port cannot be had, for a test that is allowed to have any.
var Unavailable = unavailable
