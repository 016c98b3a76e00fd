"""The page shell: templates, catalogues of translations, assets and charts. No business rule lives here."""
