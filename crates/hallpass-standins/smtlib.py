"""An SMT-LIB session on standard input and output, by way of cvc5's Python bindings.

The wheel has the solver as a library only. One argument: milliseconds for each answer.
"""

import sys

import cvc5


class Session:
    def __init__(self):
        self.terms = cvc5.TermManager()
        self.solver = cvc5.Solver(self.terms)
        self.solver.setOption("tlimit-per", sys.argv[1])
        self.symbols = cvc5.SymbolManager(self.terms)
        self.parser = cvc5.InputParser(self.solver, self.symbols)

    def run(self, text):
        self.parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, text, "stdin")
        while True:
            command = self.parser.nextCommand()
            if command.isNull():
                return
            sys.stdout.write(str(command.invoke(self.solver, self.symbols)))
            sys.stdout.flush()


def main():
    session, pending = Session(), ""
    for line in sys.stdin:
        word = line.strip()
        if word == "(reset)":
            session, pending = Session(), ""
            continue
        pending += line
        if word in ("(check-sat)", "(get-model)"):
            session.run(pending)
            pending = ""


main()
