"""The home folder and this process: settings, messages, locks, start-up and interrupts."""

from search.home.settings import Settings as Settings, prepare_home as prepare_home, read_settings as read_settings
