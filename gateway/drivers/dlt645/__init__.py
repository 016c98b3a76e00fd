"""DL/T 645: China's electricity meters, editions of 2007 and 1997."""
