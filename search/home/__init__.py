"""The home folder and this process: settings, messages, locks, start-up and interrupts."""
