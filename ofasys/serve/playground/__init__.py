"""The page of `ofasys serve`: type an instruction, fill its slots, see the answer.

`page.html`, `page.js` and `page.css` stand as they are served: nothing is built, and nothing is loaded from elsewhere.
"""
