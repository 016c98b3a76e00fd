"""Who lives where and how many they are: occupancies, persons filed for households, moving in and out."""
