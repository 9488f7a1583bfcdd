"""The commands of the command line: each reads its options, calls one function and shows what came back."""
