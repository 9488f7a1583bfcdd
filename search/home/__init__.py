"""The home folder and this process: settings, messages, locks, start-up and interrupts."""

from search.home.settings import Settings, prepare_home, read_settings
