"""The graph run again with other seeds or parameters, in a checkout of its own: how sure is a figure?"""
