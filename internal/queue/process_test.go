package queue_test

// child runs what a test started this binary for, if it did.
func child() {}
