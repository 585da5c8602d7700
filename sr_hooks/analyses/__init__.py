"""The built-in analyses, registered through the plugin contract like anyone else's."""
