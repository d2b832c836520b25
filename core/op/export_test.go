package op

// WrittenOut is for tests of what follows from it.
var WrittenOut = writtenOut
